"""The reader of the Claude CLI's output: what it finds, what it ignores, and that it accepts any input."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON
from tests.support.captures import NAMES, recorded

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.classification import FailureClass, classify
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.excerpt import HEAD_BYTES, TAIL_BYTES
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.helpers import parse_claude_stream_json
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = ("system", "assistant", "user", "result", "rate_limit_event", "stream_event", "unknown_type")
SUBTYPES = (
    "init",
    "success",
    "error_during_execution",
    "api_retry",
    "model_fallback",
    "compact_boundary",
    "task_started",
    "task_updated",
    "task_notification",
    "background_tasks_changed",
    "new",
)
FIELDS = (
    *("message", "content", "usage", "result", "errors", "modelUsage", "is_error", "model", "session_id"),
    *("uuid", "error", "supersedes", "parent_tool_use_id", "rate_limit_info", "total_cost_usd", "id"),
    *("permission_denials", "resetsAt", "text", "task_id", "tool_use_id", "tasks", "patch", "origin"),
    *("is_backgrounded", "input", "name", "stop_reason", "terminal_reason", "api_error_status"),
    "retracted_message_uuids",
)
VALUES = st.recursive(
    ANY_JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=15,
)
EVENTS = st.builds(
    lambda kind, sub, rest: {"type": kind, "subtype": sub, **rest},
    st.sampled_from(TYPES) | ANY_JSON,
    st.sampled_from(SUBTYPES) | ANY_JSON,
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6),
)


def read(*lines: dict[str, Any] | str) -> Transcript:
    return parse_claude_stream_json("".join(_line(line) for line in lines))


def _line(line: dict[str, Any] | str) -> str:
    return (line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))) + "\n"


def host_result(stdout: bytes, stderr: bytes = b"", exit_code: int = 0) -> dict[str, Any]:
    """The result of a run with this output, as the host stores it."""
    reader = StreamReader()
    reader.feed(stdout)
    reader.feed_stderr(stderr)
    observation = Observation(
        Exited(Terminated(exit_code, "")), reader.finish(), None, None, RunFacts("job", "ns")
    )
    wire: dict[str, Any] = build_result(
        classify_end(observation, OutcomeInputs(NOW)), observation, ResultInputs(NOW)
    ).to_wire()
    return wire


INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "requested"}
SUCCESS = {"type": "result", "subtype": "success", "is_error": False, "session_id": "s", "result": "done"}


def assistant(text: str, message_id: str = "m1", **more: Any) -> dict[str, Any]:
    """An event with a message of the agent. The text is also the event's `uuid`."""
    body = {"id": message_id, "model": "used", "content": [{"type": "text", "text": text}], "usage": {}}
    return {"type": "assistant", "message": body, "parent_tool_use_id": None, "uuid": text, **more}


@pytest.mark.parametrize("name", NAMES)
def test_transcript_does_not_depend_on_the_chunks(name: str) -> None:
    stdout, _ = recorded(name)
    whole, pieces = StreamReader(), StreamReader()
    whole.feed(stdout)
    size = 1 if len(stdout) < 100_000 else 61  # with chunks of 1 byte, a large capture takes half a minute
    for at in range(0, len(stdout), size):
        pieces.feed(stdout[at : at + size])
    assert pieces.finish() == whole.finish()


@given(st.data())
@settings(max_examples=60)
def test_dedup_filter_removes_replayed_events(data: st.DataObject) -> None:
    stdout = recorded(data.draw(st.sampled_from(NAMES)))[0][:100_000].decode("utf-8", "replace")
    lines = stdout.split("\n")[:-1] or ["x"]
    cut = data.draw(st.integers(0, len(lines)))
    back = data.draw(st.integers(0, cut))
    events = [line for line in lines if line.startswith("{")]
    replayed = "\n".join([*lines[:cut], *lines[back:], ""])
    step = data.draw(st.integers(1, 5000))
    dedup = LogLineDedupFilter()
    out = (
        "".join(dedup.filter(replayed[at : at + step]) for at in range(0, len(replayed), step))
        + dedup.flush()
    )
    assert [line for line in out.split("\n") if line.startswith("{")] == list(dict.fromkeys(events))


def test_dedup_filter_removes_neither_equal_plain_lines_nor_events_of_one_message() -> None:
    one, two = (json.dumps(assistant(text) | {"uuid": None}) for text in ("one", "two"))
    dedup = LogLineDedupFilter()
    assert dedup.filter(f"{one}\n{two}\n{one}\nplain\nplain\n") == f"{one}\n{two}\nplain\nplain\n"


def test_summary_is_the_whole_last_message_if_the_result_is_its_end() -> None:
    transcript = read(
        INIT, assistant("First.", "m1"), assistant("Second.", "m2"), assistant("done", "m2"), SUCCESS
    )
    assert transcript.summary == "Second.\n\ndone"


def test_summary_without_a_result_is_all_texts_of_the_main_agent() -> None:
    transcript = read(
        INIT,
        assistant("One.", "m1"),
        assistant("hidden", "m2", parent_tool_use_id="t"),
        assistant("Two.", "m3"),
    )
    assert transcript.summary == "One.\n\nTwo."


def test_retracted_messages_are_not_in_the_summary() -> None:
    transcript = read(INIT, assistant("wrong", "m1"), assistant("right", "m2", supersedes=["wrong"]))
    assert transcript.summary == "right"


def test_model_is_that_of_the_last_message_and_a_change_is_reported() -> None:
    fallback = {"type": "system", "subtype": "model_fallback", "trigger": "overloaded"}
    transcript = read(
        INIT,
        fallback | {"original_model": "requested", "fallback_model": "used"},
        assistant("Hello"),
        SUCCESS,
    )
    assert transcript.model == "used"
    assert any("used instead of requested (overloaded)" in str(warning) for warning in transcript.warnings)


def test_session_id_of_a_failed_result_without_other_events_is_ignored() -> None:
    transcript = read(
        {"type": "result", "subtype": "error_during_execution", "is_error": True, "session_id": "requested"}
    )
    assert transcript.session_id is None


def test_truncated_event_is_never_quoted_as_plain_text() -> None:
    transcript = read(
        INIT, assistant("Hello"), '{"type":"assistant","parent_tool_use_id":null,"message":{"id":"m'
    )
    assert transcript.first_plain_line == ""
    assert transcript.cut_short


def test_memory_of_a_long_run_is_bounded() -> None:
    reader = StreamReader()
    block = _line(assistant("x" * 100_000)).encode()
    for _ in range(300):
        reader.feed(block)
    transcript = reader.finish()
    assert len(transcript.summary) <= LIMITS.answer_chars
    assert transcript.bytes == 300 * len(block)
    assert len(transcript.excerpt) < HEAD_BYTES + TAIL_BYTES + 100  # and the note about what is left out


ERROR_TEXTS = (
    "Invalid API key · Fix external API key",
    "Not logged in · Please run /login https://claude.ai/oauth/login",
    "You've hit your session limit · resets 3pm (UTC)",
    "API Error: 529 Overloaded. API Error: 500 Internal server error. rate_limit overloaded",
    "Credit balance is too low. Prompt is too long. Request timed out",
    "No conversation found with session ID: 00000000-0000-0000-0000-000000000000",
    "There's an issue with the selected model (x). previous_message_id unprocessable image",
    "Reached maximum number of turns (1) error_max_turns stop_reason refusal unauthorized 401 403 404",
    '{"type":"result","subtype":"error_max_turns","is_error":true} "error":"authentication_failed"',
)


def test_error_text_of_a_tool_or_the_model_makes_no_failure() -> None:
    text = "\n".join(ERROR_TEXTS)
    tool = {
        "type": "user",
        "message": {"role": "user", "content": [{"type": "tool_result", "content": text}]},
    }
    call = assistant(text)
    call["message"]["content"].append(
        {"type": "tool_use", "name": "Bash", "input": {"error": text, "command": text}}
    )
    wire = host_result(
        "".join(_line(line) for line in (INIT, tool, call, SUCCESS | {"result": text})).encode()
    )
    assert wire["exitCode"] == 0
    assert wire.get("errorCode") is None
    assert wire["sessionId"] == "s"


def test_error_text_of_the_model_does_not_classify_a_failure() -> None:
    failed = SUCCESS | {"is_error": True, "result": "Something else"}
    transcript = read(INIT, assistant("\n".join(ERROR_TEXTS)), failed)
    assert classify(transcript, NOW).failure_class is FailureClass.OTHER


@pytest.mark.parametrize(
    ("result", "error", "failure_class"),
    [
        ({"result": "API Error: 400 previous_message_id is not valid"}, None, FailureClass.POISONED_SESSION),
        ({"result": "x", "api_error_status": 402}, None, FailureClass.CREDIT_EXHAUSTED),
        ({"result": "x", "api_error_status": 413}, None, FailureClass.PROMPT_TOO_LONG),
        ({"result": "x", "api_error_status": 503}, None, FailureClass.TRANSIENT),
        ({"result": "x"}, "oauth_org_not_allowed", FailureClass.AUTH_REQUIRED),
        ({"result": "You've hit your Opus limit · resets 3pm (UTC)"}, "rate_limit", FailureClass.QUOTA),
        ({"result": "Request timed out"}, None, FailureClass.TRANSIENT),
        ({"result": "x", "stop_reason": "refusal"}, "invalid_request", FailureClass.REFUSAL),
    ],
)
def test_failure_that_no_capture_has_is_classified(
    result: dict[str, Any], error: str | None, failure_class: FailureClass
) -> None:
    synthetic = [assistant("x", error=error)] if error else []
    transcript = read(INIT, *synthetic, SUCCESS | {"is_error": True} | result)
    assert classify(transcript, NOW).failure_class is failure_class


@given(st.lists(EVENTS | st.text() | st.binary(), max_size=8), st.binary(max_size=50), st.integers(0, 255))
@settings(max_examples=400)
def test_any_input_is_read_and_succeeds_only_with_a_success_result(
    lines: list[Any], stderr: bytes, code: int
) -> None:
    raw = [line if isinstance(line, bytes) else _line(line).encode("utf-8", "replace") for line in lines]
    wire = host_result(b"".join(raw), stderr, code)
    assert (wire.get("errorCode") is None) is _ends_with_a_success(b"".join(raw))
    orjson.loads(strict_json(wire))


def _ends_with_a_success(raw: bytes) -> bool:
    """Whether the last of all `init` events, main agent messages and results is a result without an error."""
    deciding = [event for event in _events_of(raw) if _is_deciding(event)]
    last = deciding[-1] if deciding else {}
    failed = last.get("is_error") or str(last.get("subtype") or "").startswith("error")
    return last.get("type") == "result" and not failed


def _is_deciding(event: dict[str, Any]) -> bool:
    main_message = event["type"] == "assistant" and not event.get("parent_tool_use_id")
    init = event["type"] == "system" and event.get("subtype") == "init"
    return main_message or init or event["type"] == "result"


def _events_of(raw: bytes) -> list[dict[str, Any]]:
    """The events of a complete output. Lines that are not JSON are read by `events_on`."""
    return [event for line in raw.split(b"\n") for event in _events_on_line(line)]


def _events_on_line(line: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return [dict(event) for event, _ in events_on(line)] or _truncated_event(line)
    is_event = isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"]
    return [value] if is_event else []


def _truncated_event(line: bytes) -> list[dict[str, Any]]:
    """An event that stands for the line, if it is the beginning of an `init` or of a main agent message."""
    if line.startswith(b'{"type":"system","subtype":"init"'):
        return [{"type": "system", "subtype": "init"}]
    of_sub_agent = b'"parent_tool_use_id"' in line and b'"parent_tool_use_id":null' not in line
    return [{"type": "assistant"}] if line.startswith(b'{"type":"assistant",') and not of_sub_agent else []


@given(st.data())
@settings(max_examples=200)
def test_mutated_capture_succeeds_only_with_a_success_result(data: st.DataObject) -> None:
    stdout = recorded(data.draw(st.sampled_from(NAMES)))[0][:100_000]
    lines = [line for line in stdout.split(b"\n") if line]
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, max(len(lines) - 1, 0)))
        match data.draw(st.sampled_from(("drop", "cut", "repeat", "swap", "change bytes"))):
            case "drop":
                del lines[at : at + 1]
            case "cut" if lines:
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case "repeat" if lines:
                lines.insert(at, lines[at])
            case "swap" if lines:
                lines[0], lines[at] = lines[at], lines[0]
            case "change bytes" if lines and lines[at]:
                position = data.draw(st.integers(0, len(lines[at]) - 1))
                lines[at] = (
                    lines[at][:position]
                    + data.draw(st.binary(min_size=1, max_size=2))
                    + lines[at][position + 1 :]
                )
    mutated = b"\n".join(lines)
    wire = host_result(mutated, exit_code=data.draw(st.sampled_from((0, 1, 137))))
    if wire.get("errorCode") is None:
        assert _ends_with_a_success(mutated)
