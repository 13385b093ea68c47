"""Events of type `system`.

Functions named `*_entries` return entries. All others return the text of one `system` entry, which is empty
if there is nothing to show.
"""

from collections.abc import Callable, Mapping

from paperclip_claude_k8s.claude.ui import tasks
from paperclip_claude_k8s.claude.ui.values import (
    BLANKS,
    LONG_CHARS,
    Entry,
    Json,
    counted,
    description_of,
    duration,
    first_text,
    items_of,
    joined,
    labelled,
    name_of,
    number_of,
    object_of,
    objects_of,
    short,
    text_of,
    whole,
)


def init_entries(event: Json) -> list[Entry]:
    model = text_of(event, "model") or "unknown"
    entries: list[Entry] = [{"kind": "init", "model": model, "sessionId": text_of(event, "session_id")}]
    for server in objects_of(event, "mcp_servers"):
        status = short(text_of(server, "status"))
        if status != "connected":
            text = f"MCP server {name_of(server, 'name')}: {status or 'status unknown'}"
            entries.append({"kind": "system", "text": text})
    broken = len(items_of(event, "plugin_errors"))
    if broken:
        entries.append({"kind": "system", "text": f"{counted(broken, 'plugin')} could not be loaded"})
    return entries


def api_error_entries(event: Json) -> list[Entry]:
    detail = description_of(event) or description_of(object_of(event, "error"))
    return [{"kind": "stderr", "text": labelled("API error", detail)}]


def _api_retry(event: Json) -> str:
    status = number_of(event, "error_status")
    error = short(text_of(event, "error"))
    facts = ("no response" if status is None else str(int(status)), "" if error == "unknown" else error)
    attempt, limit, delay = (number_of(event, key) for key in ("attempt", "max_retries", "retry_delay_ms"))
    tries = joined(" of ", ("" if attempt is None else whole(attempt), "" if limit is None else whole(limit)))
    when = "" if delay is None else f"in {duration(delay)}"
    return f"API error ({joined(', ', facts)}): {joined(' ', ('retry', tries, when))}"


def _status(event: Json) -> str:
    status, outcome = text_of(event, "status"), text_of(event, "compact_result")
    if status == "compacting":
        return "compacting the conversation"
    if outcome:
        return labelled(f"compaction: {short(outcome)}", short(text_of(event, "compact_error")))
    if status and status != "requesting":
        return f"status: {short(status)}"
    mode = short(text_of(event, "permissionMode"))
    return f"permission mode: {mode}" if mode else ""


def _compact_boundary(event: Json) -> str:
    facts = object_of(event, "compact_metadata")
    before, after = number_of(facts, "pre_tokens"), number_of(facts, "post_tokens")
    trigger, took = short(text_of(facts, "trigger")), number_of(facts, "duration_ms")
    tokens = "" if before is None else counted(before, "token")
    if after is not None:
        tokens = f"{tokens or 'an unknown number of tokens'} became {whole(after)}"
    how = "" if took is None else f"in {duration(took)}"
    label = f"conversation compacted ({trigger})" if trigger else "conversation compacted"
    return labelled(label, joined(" ", (tokens, how)))


def _informational(event: Json) -> str:
    level = short(text_of(event, "level"))
    detail = labelled("" if level == "info" else level, description_of(event))
    stops_run = event.get("prevent_continuation") is True
    return joined(" ", (detail, "(the run stops here)" if stops_run else ""))


def _model_change(event: Json) -> str:
    trigger = short(text_of(event, "trigger"))
    change = f"{name_of(event, 'fallback_model')} answers instead of {name_of(event, 'original_model')}"
    withdrawn = len(items_of(event, "retracted_message_uuids"))
    more = f"; {counted(withdrawn, 'earlier message')} withdrawn" if withdrawn else ""
    return labelled(f"{change} ({trigger}){more}" if trigger else change + more, description_of(event))


def _model_refusal(event: Json) -> str:
    category = short(text_of(event, "api_refusal_category"))
    label = f"{name_of(event, 'original_model')} refused to answer"
    detail = first_text(event, "api_refusal_explanation") or description_of(event)
    return labelled(f"{label} ({category})" if category else label, detail)


def _permission_denied(event: Json) -> str:
    detail = first_text(event, "message", "decision_reason", "decision_reason_type")
    return labelled(f"permission denied: {name_of(event, 'tool_name')}", short(detail, LONG_CHARS))


def _plugin_install(event: Json) -> str:
    detail = joined(": ", (short(text_of(event, "status")), short(text_of(event, "error"))))
    return labelled(f"plugin {name_of(event, 'name')}", detail)


def _files_persisted(event: Json) -> str:
    failed = len(items_of(event, "failed"))
    saved = f"{counted(len(items_of(event, 'files')), 'file')} saved"
    return f"{saved}, {whole(failed)} failed" if failed else saved


def _memory_recall(event: Json) -> str:
    mode = short(text_of(event, "mode"))
    recalled = f"memories recalled: {whole(len(items_of(event, 'memories')))}"
    return f"{recalled} ({mode})" if mode else recalled


def _elicitation_complete(event: Json) -> str:
    return f"MCP server {name_of(event, 'mcp_server_name')}: the question is answered"


def _turn_duration(event: Json) -> str:
    took = number_of(event, "duration_ms")
    return "" if took is None else f"this turn took {duration(took)}"


def _local_command(event: Json) -> str:
    detail = (
        description_of(event).removeprefix("<local-command-stdout>").removesuffix("</local-command-stdout>")
    )
    return detail.strip(BLANKS)


def _with_label(label: str) -> Callable[[Json], str]:
    """A function that returns the label, and what the event says of itself."""

    def line(event: Json) -> str:
        return labelled(label, short(description_of(event), LONG_CHARS))

    return line


def _session_state(event: Json) -> str:
    return labelled("session", short(text_of(event, "state")))


def session_writes_lost_entries(event: Json) -> list[Entry]:
    code = short(text_of(event, "error_code"))
    text = f"the session could not be saved{f' ({code})' if code else ''}: it cannot be resumed"
    return [{"kind": "stderr", "text": text}]


def _background_tasks(event: Json) -> str:
    running = len(items_of(event, "tasks"))
    return f"background tasks running: {whole(running)}" if running else "no background task is running"


def _labelled_by(label: str, *keys: str) -> Callable[[Json], str]:
    """A function that returns the label, and the first of these fields that has a text.

    If none has one: the label, and what the event says of itself.
    """

    def line(event: Json) -> str:
        return labelled(label, short(first_text(event, *keys) or description_of(event)))

    return line


DESCRIBERS: Mapping[str, Callable[[Json], str]] = {
    **tasks.DESCRIBERS,
    "agents_killed": _with_label("the sub-agents were stopped"),
    "api_retry": _api_retry,
    "away_summary": description_of,
    "background_tasks_changed": _background_tasks,
    "code_change_published": _with_label("a code change was published"),
    "commands_changed": _with_label("the list of commands changed"),
    "compact_boundary": _compact_boundary,
    "elicitation_complete": _elicitation_complete,
    "file_attachments_missing": _with_label("attached files are missing"),
    "files_persisted": _files_persisted,
    "informational": _informational,
    "instruction_size_warning": _with_label("the instructions are long"),
    "local_command_output": _local_command,
    "memory_recall": _memory_recall,
    "memory_saved": _with_label("memory saved"),
    "mirror_error": _with_label("the transcript could not be mirrored"),
    "model_consent_fallback": _model_change,
    "model_fallback": _model_change,
    "model_refusal_fallback": _model_change,
    "model_refusal_no_fallback": _model_refusal,
    "notification": description_of,
    "per_turn_effort_changed": _labelled_by(
        "the effort of this turn changed", "effort", "level", "effort_level"
    ),
    "permission_check_status": _with_label("permission check"),
    "permission_denied": _permission_denied,
    "permission_retry": _with_label("permission is requested again"),
    "plugin_install": _plugin_install,
    "post_turn_summary": description_of,
    "scheduled_task_fire": _with_label("a scheduled task begins"),
    "session_state_changed": _session_state,
    "session_title_changed": _labelled_by("the session has a new title", "title", "session_title"),
    "status": _status,
    "stop_hook_summary": _with_label("stop hooks ran"),
    "task_summary": description_of,
    "turn_duration": _turn_duration,
    "turn_preempted": _with_label("a new message interrupted the turn"),
    "vcs_state_changed": _labelled_by(
        "the state of the Git repository changed", "branch", "current_branch", "head"
    ),
    "worker_shutting_down": _with_label("Claude Code is shutting down"),
}
"""Each known subtype that becomes one line, and its function. Three others become other entries: `init`,
`api_error` and `session_writes_lost`."""
