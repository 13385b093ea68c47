"""Warnings about runs that succeed: which events of the Claude CLI cause a warning, and which do not."""

from typing import Any

import pytest
from tests.support.captures import NEW, OLD, recorded
from tests.support.failed_runs import NOW, read

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

Event = dict[str, Any]
INIT: Event = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}
ANSWER: Event = {
    "type": "assistant",
    "parent_tool_use_id": None,
    "message": {"id": "m1", "model": "m", "content": [{"type": "text", "text": "Done."}]},
}
SUCCESS: Event = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "Done.",
    "num_turns": 1,
    "duration_api_ms": 5,
    "stop_reason": "end_turn",
    "terminal_reason": "completed",
}
TASK_STARTED: Event = {
    "type": "system",
    "subtype": "task_started",
    "task_id": "t1",
    "description": "watch the build",
}
WRITES_LOST: Event = {
    "type": "system",
    "subtype": "session_writes_lost",
    "error_code": "ENOSPC",
    "lost": ["transcript"],
}


def task_ended(status: str, task: str = "t1") -> Event:
    return {"type": "system", "subtype": "task_notification", "task_id": task, "status": status}


def stop_call(tool: str, key: str) -> Event:
    call = {"type": "tool_use", "id": "c", "name": tool, "input": {key: "t1"}}
    return {**ANSWER, "message": {"id": "m0", "model": "m", "content": [call]}}


def blocked(**more: Any) -> Event:
    return {"type": "system", "subtype": "informational", "prevent_continuation": True, **more}


def servers(*statuses: str) -> Event:
    names = [{"name": f"server-{status}", "status": status} for status in statuses]
    return {**INIT, "mcp_servers": names}


def wire_of(transcript: Transcript, exit_code: int = 0) -> dict[str, Any]:
    observation = Observation(Exited(Terminated(exit_code)), transcript, None, None, RunFacts("job", "ns"))
    failure = classify_end(observation, OutcomeInputs(NOW))
    assert failure is None
    return build_result(failure, observation, ResultInputs(NOW)).to_wire()


def warnings_of(*events: Event | str, stderr: str = "", exit_code: int = 0) -> list[str]:
    return list(wire_of(read(*events, stderr=stderr), exit_code)["resultJson"].get("warnings", []))


UNKNOWN_MODEL = '[claude-code:unrecognized_model] {"model":"glm-4.7","query_source":"sdk"}'
WARNED: dict[str, tuple[list[Event | str], str, str]] = {
    "task stopped": (
        [INIT, TASK_STARTED, ANSWER, task_ended("stopped"), SUCCESS],
        "background_task_stopped",
        "watch the build",
    ),
    "task killed": (
        [INIT, TASK_STARTED, ANSWER, SUCCESS, task_ended("killed")],
        "background_task_stopped",
        "watch the build",
    ),
    "task unfinished": (
        [INIT, TASK_STARTED, ANSWER, SUCCESS],
        "background_task_unfinished",
        "watch the build",
    ),
    "blocked by a hook": (
        [INIT, blocked(content="Stop: no\n\n\nOriginal prompt: x"), SUCCESS],
        "hook_stopped_run",
        "Stop: no",
    ),
    "blocked by a hook with a reason": (
        [INIT, blocked(content="x", prompt_submit_outcome={"reason": "forbidden"}), SUCCESS],
        "hook_stopped_run",
        "forbidden",
    ),
    "stopped by a hook": (
        [INIT, ANSWER, SUCCESS | {"terminal_reason": "hook_stopped"}],
        "hook_stopped_run",
        "a hook",
    ),
    "MCP server failed": (
        [servers("connected", "failed"), ANSWER, SUCCESS],
        "mcp_server_unavailable",
        "server-failed",
    ),
    "MCP server needs a login": (
        [servers("needs-auth"), ANSWER, SUCCESS],
        "mcp_server_unavailable",
        "(needs-auth)",
    ),
    "unknown model": ([INIT, UNKNOWN_MODEL, ANSWER, SUCCESS], "model_unknown", "glm-4.7"),
    "empty result": ([INIT, ANSWER, SUCCESS | {"result": ""}], "result_empty", "(stop_reason: end_turn)"),
    "result cut off": ([INIT, ANSWER, SUCCESS | {"stop_reason": None}], "result_truncated", "null"),
    "permission denied": (
        [INIT, ANSWER, SUCCESS | {"permission_denials": [{"tool_name": "mcp__x__y"}]}],
        "permission_denied",
        "mcp__x__y",
    ),
    "prompt is a command": (
        [INIT, SUCCESS | {"result": "Unknown slash command: deploy", "duration_api_ms": 0, "num_turns": 0}],
        "prompt_was_command",
        "deploy",
    ),
    "disk full": ([INIT, ANSWER, SUCCESS, WRITES_LOST], "session_not_saved", "disk was full"),
}
"""The events of a run, the code of its warning, and a part of the warning's text."""


@pytest.mark.parametrize("kind", WARNED)
def test_run_with_an_unusual_event_has_a_warning_with_its_code(kind: str) -> None:
    events, code, text = WARNED[kind]
    (warning,) = warnings_of(*events)
    assert warning.startswith(f"{code}: ")
    assert text in warning


NOT_WARNED: dict[str, list[Event | str]] = {
    "completed task": [INIT, TASK_STARTED, ANSWER, task_ended("completed"), SUCCESS],
    "task of an earlier run": [task_ended("stopped", "t0"), INIT, ANSWER, SUCCESS],
    "stopped by the agent": [
        INIT,
        TASK_STARTED,
        stop_call("TaskStop", "task_id"),
        task_ended("stopped"),
        ANSWER,
        SUCCESS,
    ],
    "killed by the agent": [
        INIT,
        TASK_STARTED,
        stop_call("KillShell", "shell_id"),
        SUCCESS,
        task_ended("killed"),
    ],
    "answer after the task stopped": [INIT, TASK_STARTED, task_ended("stopped"), ANSWER, SUCCESS],
    "ambient task": [INIT, TASK_STARTED | {"ambient": True}, ANSWER, SUCCESS],
    "pending server": [servers("pending", "connected", "disabled"), ANSWER, SUCCESS],
    "reconnected server": [servers("failed"), ANSWER, SUCCESS, INIT, ANSWER, SUCCESS],
    "information that blocks nothing": [INIT, blocked() | {"prevent_continuation": False}, ANSWER, SUCCESS],
    "answer like a command": [INIT, ANSWER, SUCCESS | {"result": "Unknown command: x", "duration_api_ms": 0}],
    "global config lost": [INIT, ANSWER, SUCCESS, WRITES_LOST | {"lost": ["global_config"]}],
    "structured output": [INIT, ANSWER, SUCCESS | {"result": "", "structured_output": {"a": 1}}],
    "unknown events": [
        INIT,
        {"type": "system", "subtype": "brand_new", "is_error": True},
        {"type": "x"},
        ANSWER,
        SUCCESS,
    ],
}


@pytest.mark.parametrize("kind", NOT_WARNED)
def test_run_with_ordinary_events_has_no_warning(kind: str) -> None:
    assert warnings_of(*NOT_WARNED[kind]) == []


def test_unknown_model_on_stdout_and_stderr_causes_one_warning() -> None:
    (warning,) = warnings_of(INIT, UNKNOWN_MODEL, ANSWER, SUCCESS, stderr=f"{UNKNOWN_MODEL}\n")
    assert warning.startswith("model_unknown: ")


@pytest.mark.parametrize(("code", "text"), [(1, "exit code 1"), (143, "exit code 143 (SIGTERM)")])
def test_exit_code_other_than_0_after_a_success_result_is_a_warning(code: int, text: str) -> None:
    (warning,) = warnings_of(INIT, ANSWER, SUCCESS, exit_code=code)
    assert warning.startswith("exit_code: ")
    assert text in warning


def test_session_that_could_not_be_saved_is_not_in_the_result() -> None:
    wire = wire_of(read(INIT, ANSWER, SUCCESS, WRITES_LOST))
    assert wire["clearSession"] is True
    assert "sessionId" not in wire
    assert "sessionParams" not in wire


def test_structured_output_is_the_summary_of_a_result_without_text() -> None:
    result = SUCCESS | {"result": "", "structured_output": {"verdict": "ok", "score": 3}}
    assert wire_of(read(INIT, ANSWER, result))["summary"] == '{"verdict":"ok","score":3}'


@pytest.mark.parametrize(
    ("folder", "name", "codes"),
    [
        (OLD, "17c-hook-stop", ["hook_stopped_run"]),
        (NEW, "17c-hook-stop", ["hook_stopped_run"]),
        (OLD, "24c2-slash-unknown-nodash", ["prompt_was_command"]),
        (NEW, "24c2-slash-unknown-nodash", []),
        (NEW, "24l-unknown-model-cost", ["model_unknown"]),
        (OLD, "18-permission-denied", ["permission_denied"]),
        (NEW, "18-permission-denied", ["permission_denied"]),
        (OLD, "10c-empty-end-turn", ["result_empty"]),
        (OLD, "23a-background-bash", []),
        (NEW, "23a-background-bash", []),
        (NEW, "15c-subagent-background", []),
        (NEW, "01-plain-text", []),
    ],
)
def test_capture_has_the_warnings_of_its_scenario(folder: str, name: str, codes: list[str]) -> None:
    stdout, description = recorded(name, folder)
    reader = StreamReader()
    reader.feed(stdout)
    reader.feed_stderr(description["stderr"].encode())
    warnings = wire_of(reader.finish())["resultJson"].get("warnings", [])
    assert [warning.partition(":")[0] for warning in warnings] == codes
