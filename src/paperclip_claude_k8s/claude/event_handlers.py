"""One handler per kind of event, which reads what the parser needs (`docs/cli-events.md`)."""

from collections.abc import Callable
from typing import TypeAlias

from paperclip_claude_k8s.base.json_readers import get_list, get_number, get_object, get_text
from paperclip_claude_k8s.base.session_ids import as_session_id
from paperclip_claude_k8s.claude.events import Event, count, get_name
from paperclip_claude_k8s.claude.open_work import OpenWork
from paperclip_claude_k8s.claude.run_notices import RunNotices
from paperclip_claude_k8s.claude.stream_state import StreamState
from paperclip_claude_k8s.claude.transcript import ModelChange

Handler: TypeAlias = Callable[[StreamState, Event, bytes], None]
"""Arguments: the state, the event, and the event's JSON as it was printed."""
LAST_ITEMS = 100
"""Number of the last errors, and of the last model changes, that are kept. `[1 - LAST_ITEMS :]` leaves room
for a new one."""


def handler_of(event: Event) -> Handler | None:
    """The handler for an event; None if the event does not matter for the outcome."""
    kind = get_text(event, "type")
    return _HANDLERS.get((kind, get_text(event, "subtype"))) or _HANDLERS.get((kind, ""))


def _init(state: StreamState, event: Event, _: bytes) -> None:
    """The CLI prints `init` again if it continues after a result. All of a run name the same session."""
    state.note_continuation()
    state.notices.init(event)
    state.usage.take_version(event)
    state.announced_model, state.api_key_source = get_name(event, "model"), get_name(event, "apiKeySource")
    state.session_id = as_session_id(event.get("session_id")) or state.session_id


def _assistant(state: StreamState, event: Event, line: bytes) -> None:
    error = get_name(event, "error")
    if error:
        state.assistant_errors = (*state.assistant_errors[1 - LAST_ITEMS :], error)
    state.assistant_texts.retract(get_list(event, "supersedes"))
    message = get_object(event, "message")
    blocks = get_list(message, "content")
    state.open_work.add_message(get_text(event, "parent_tool_use_id"), blocks)
    state.notices.tool_calls(blocks)
    state.answer_usage.add_line(line)
    if event.get("parent_tool_use_id"):
        return
    state.note_continuation()
    state.note_answer()
    if error:
        state.last_error = {"error": error, **_error_fields(event)}
    state.main_events += 1
    state.has_content |= bool(blocks) or count(get_object(message, "usage"), "output_tokens") > 0
    state.assistant_texts.add(
        line, has_text=any(isinstance(block, dict) and block.get("type") == "text" for block in blocks)
    )


def _result(state: StreamState, event: Event, line: bytes) -> None:
    """The last result counts: a background task that ends makes the CLI continue with another turn."""
    state.result = line
    state.overtaken = state.result_too_large = False
    state.torn_event = state.api_retries.pending = ""
    state.open_work.add_result(event)
    state.usage.add_result(event)
    state.answer_usage.add_result(event)


def _error_fields(event: Event) -> Event:
    """The fields of an `assistant` event about its error, of known types and sizes."""
    limit = get_object(get_object(event, "api_error_params"), "rate_limit_info")
    parameters = {key: get_name(get_object(event, "api_error_params"), key) for key in ("cut", "remedy")}
    return {
        "api_error": get_name(event, "api_error"),
        "api_error_params": {**parameters, "rate_limit_info": {"resetsAt": get_number(limit, "resetsAt")}},
    }


def _rate_limit(state: StreamState, event: Event, _: bytes) -> None:
    state.rate_limits.add(get_object(event, "rate_limit_info"))


def _retry(state: StreamState, event: Event, _: bytes) -> None:
    state.api_retries.add(event)


def _compaction(state: StreamState, _event: Event, _line: bytes) -> None:
    state.compactions += 1


def _model_change(state: StreamState, event: Event, _: bytes) -> None:
    state.assistant_texts.retract(get_list(event, "retracted_message_uuids"))
    names = ("original_model", "fallback_model", "trigger")
    change = ModelChange(*(get_name(event, name) for name in names))
    state.model_changes = (*state.model_changes[1 - LAST_ITEMS :], change)


def _task_started(state: StreamState, event: Event, _: bytes) -> None:
    state.open_work.task_started(event)
    state.notices.task_started(event)


def _task_ended(state: StreamState, event: Event, _: bytes) -> None:
    state.open_work.task_ended(event)
    state.notices.task_ended(event)


def _open_work(track: Callable[[OpenWork, Event], None]) -> Handler:
    """A handler that only passes the event on to the state's `OpenWork`."""
    return lambda state, event, _: track(state.open_work, event)


def _notice(take: Callable[[RunNotices, Event], None]) -> Handler:
    """A handler that only passes the event on to the state's `RunNotices`."""
    return lambda state, event, _: take(state.notices, event)


_HANDLERS: dict[tuple[str, str], Handler] = {
    ("system", "init"): _init,
    ("system", "api_retry"): _retry,
    ("system", "compact_boundary"): _compaction,
    ("system", "model_fallback"): _model_change,
    ("system", "model_refusal_fallback"): _model_change,
    ("system", "informational"): _notice(RunNotices.informational),
    ("system", "session_writes_lost"): _notice(RunNotices.session_writes_lost),
    ("system", "task_started"): _task_started,
    ("system", "task_updated"): _open_work(OpenWork.task_updated),
    ("system", "task_notification"): _task_ended,
    ("system", "background_tasks_changed"): _open_work(OpenWork.tasks_changed),
    ("assistant", ""): _assistant,
    ("user", ""): _open_work(OpenWork.tool_output),
    ("result", ""): _result,
    ("rate_limit_event", ""): _rate_limit,
}
