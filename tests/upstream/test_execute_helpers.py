"""The helpers return the same values as the helpers of the TypeScript adapter."""

import json
from typing import Any

import pytest

from paperclip_claude_k8s import helpers

MODEL = "claude-sonnet-4-6"
INIT = json.dumps({"type": "system", "subtype": "init", "model": MODEL, "session_id": "sess_abc"})
AFTER_INIT = f"Claude exited immediately after init (model: {MODEL}) (exit code 1)"
RESULT = json.dumps({"type": "result", "subtype": "error", "result": "rate limit"})
RATE_LIMIT = json.dumps({"type": "rate_limit_event", "rate_limit_info": {"rateLimitType": "five_hour"}})
USER = json.dumps({"type": "user", "message": {"role": "user", "content": []}})
SYSTEM = json.dumps({"type": "system", "subtype": "other"})
THOUGHT = {"type": "thinking", "thinking": "Let me start…"}
ANSWER = json.dumps(
    {
        "type": "assistant",
        "message": {"id": "063ad603", "content": [THOUGHT], "usage": {"output_tokens": 0}},
    }
)


class ApiResponse:
    """The response of an API call, as client libraries attach it to their exceptions."""

    def __init__(self, **fields: int) -> None:
        vars(self).update(fields)


def error(message: str, **fields: Any) -> Exception:
    made = Exception(message)
    vars(made).update(fields)
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *((value, False) for value in (None, "string error", 404)),
        (error("something went wrong"), False),
        (error("HTTP-Code: 500 Message: Internal Server Error"), False),
        (error("HTTP-Code: 404 Message: Unknown API Status Code! Body: ..."), True),
        (error("Not Found", response=ApiResponse(statusCode=404)), True),
        (error("Not Found", response=ApiResponse(status=404)), True),
        (error("Not Found", statusCode=404), True),
        (error("Forbidden", response=ApiResponse(statusCode=403)), False),
    ],
)
def test_missing_object_is_recognised(given: object, *, expected: bool) -> None:
    assert helpers.is_k8s_404(given) is expected


@pytest.mark.parametrize(
    ("code", "model", "stdout", "message"),
    [
        (0, "", "", "Failed to parse Claude JSON output"),
        (0, MODEL, INIT, "Failed to parse Claude JSON output"),
        (1, "", "", "Claude exited with code 1"),
        (None, "", "", "Claude exited with code -1"),
        (
            1,
            MODEL,
            f"{INIT}\nError: no API key configured",
            "Claude exited with code 1: Error: no API key configured",
        ),
        (
            1,
            MODEL,
            f"{INIT}\n{USER}\nError: API quota exceeded",
            "Claude exited with code 1: Error: API quota exceeded",
        ),
        (None, "", "Some plain error text", "Claude exited with code -1: Some plain error text"),
        (1, "model-x", f"{INIT}\n{SYSTEM}\nreal error line", "Claude exited with code 1: real error line"),
    ],
)
def test_run_without_a_result_has_this_message(
    code: int | None, model: str, stdout: str, message: str
) -> None:
    assert helpers.build_partial_run_error(code, model, stdout) == message


@pytest.mark.parametrize("stdout", [INIT, f"{INIT}\n{RESULT}"])
def test_run_that_printed_only_init_is_described_without_json(stdout: str) -> None:
    message = helpers.build_partial_run_error(1, MODEL, stdout)
    assert message.startswith(AFTER_INIT)
    assert "{" not in message


@pytest.mark.parametrize(
    ("model", "stdout"),
    [
        ("MiniMax-M2.7", INIT),
        ("claude-opus-4-7", f"{INIT}\n{RATE_LIMIT}"),
        ("MiniMax-M2.7", f"{INIT}\n{ANSWER}"),
    ],
)
def test_missing_result_is_described_with_the_model_and_without_events(model: str, stdout: str) -> None:
    message = helpers.build_partial_run_error(None, model, stdout)
    assert f"did not produce a result (model: {model})" in message
    for word in ("{", "type", "system", "rate_limit_event", "063ad603", "output_tokens", "thinking"):
        assert word not in message


@pytest.mark.parametrize(
    ("code", "stdout", "state", "end"),
    [
        (
            1,
            INIT,
            {"exitCode": 1, "reason": "Error", "message": "no model"},
            "[pod: reason=Error, message=no model]",
        ),
        (
            137,
            "",
            {"exitCode": 137, "reason": "OOMKilled"},
            "[pod: reason=OOMKilled, SIGKILL (commonly OOMKilled)]",
        ),
        (1, f"{INIT}\nError: bad", {"exitCode": 1, "reason": "Error"}, "Error: bad [pod: reason=Error]"),
    ],
)
def test_state_of_the_terminated_container_is_appended(
    code: int, stdout: str, state: dict[str, Any], end: str
) -> None:
    state = {"message": None, "signal": None, **state}
    assert helpers.build_partial_run_error(code, MODEL, stdout, state).endswith(end)


def test_unknown_state_of_the_container_adds_nothing() -> None:
    assert "[pod:" not in helpers.build_partial_run_error(1, MODEL, INIT, None)


def job(task: str | None = None, session: str | None = None, **status: Any) -> dict[str, Any]:
    ids = {"paperclip.io/task-id": task, "paperclip.io/session-id": session}
    labels = {
        "paperclip.io/adapter-type": "claude_k8s",
        **{key: value for key, value in ids.items() if value},
    }
    return {"metadata": {"name": "ac-job", "namespace": "paperclip", "labels": labels}, "status": status}


DONE = {"conditions": [{"type": "Complete", "status": "True"}]}


@pytest.mark.parametrize(
    ("given", "task", "session", "expected"),
    [
        (job("task-xyz", "sess-123"), "task-xyz", "sess-123", "reattach"),
        (job("task-xyz", "sess-123"), "task-xyz", None, "reattach"),
        (job("task-xyz"), "task-xyz", "sess-123", "reattach"),
        (job("task-xyz"), "task-xyz", None, "reattach"),
        (job("task-xyz", "sess-123"), None, "sess-123", "block_task_unknown"),
        (job(None, "sess-123"), "task-xyz", "sess-123", "block_task_unknown"),
        (job("task-other", "sess-123"), "task-xyz", "sess-123", "block_task_mismatch"),
        (job("task-xyz", "sess-other"), "task-xyz", "sess-123", "block_session_mismatch"),
        (job("task-xyz", "sess-123", **DONE), "task-xyz", "sess-123", "reattach"),
    ],
)
def test_orphan_is_classified(
    given: dict[str, Any], task: str | None, session: str | None, expected: str
) -> None:
    assert helpers.classify_orphan(given, {"taskId": task, "sessionId": session}) == expected


def ended(name: str, **end: Any) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": end}}


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        ([ended("claude", exitCode=137, reason="OOMKilled")], ": claude exited 137 (OOMKilled)"),
        ([ended("claude", exitCode=1, message="signal: killed")], ": claude exited 1 (signal: killed)"),
        ([], ""),
        ([ended("sidecar", exitCode=0, reason="Completed")], ""),
        ([ended("claude", exitCode=None, reason="Error")], ": claude exited unknown (Error)"),
    ],
)
def test_pod_that_ended_is_described(containers: list[Any], message: str) -> None:
    text = helpers.describe_pod_terminated_error("mypod", "Failed", containers)
    assert text == f"Pod mypod reached phase=Failed{message}"


@pytest.mark.parametrize(
    ("state", "parts"),
    [
        (
            {"exitCode": 137, "reason": "OOMKilled", "message": "Memory cgroup out of memory"},
            ["exit code 137", "SIGKILL", "OOMKilled", "Memory cgroup out of memory"],
        ),
        ({"exitCode": 143, "reason": None}, ["exit code 143", "SIGTERM"]),
        (None, ["pod state unavailable"]),
        ({"exitCode": None, "reason": "Error"}, ["no exit code", "reason=Error"]),
    ],
)
def test_cause_of_cut_output_is_described(state: dict[str, Any] | None, parts: list[str]) -> None:
    cause = helpers.describe_truncation_cause(state)
    assert [part for part in parts if part not in cause] == []


@pytest.mark.parametrize(
    ("status", "stops"),
    [
        *((status, True) for status in ("cancelled", "cancelling")),
        *((status, False) for status in (None, "", "running", "succeeded", "failed", "completed")),
        *((status, False) for status in ("unknown", "queued", "pending")),
    ],
)
def test_only_a_cancellation_stops_an_agent(status: str | None, *, stops: bool) -> None:
    assert helpers.should_abort_for_cancellation(status) is stops
