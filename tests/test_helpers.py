"""The public helpers, with the texts that hosts and other programs match."""

import json

import pytest
from tests.support.objects import a_job

from paperclip_claude_k8s import helpers
from paperclip_claude_k8s.cluster.model import ContainerSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.verdict.slot import Claimant

MODEL = "claude-sonnet-4-6"
INIT = json.dumps({"type": "system", "subtype": "init", "model": MODEL}, separators=(",", ":"))
AFTER_INIT = (
    f"Claude exited immediately after init (model: {MODEL}) (exit code 1) — the model may be unsupported or "
    "the session may have been rejected before producing output"
)
NO_RESULT = (
    "Claude started but did not produce a result (model: other) — check API credentials, model support, and "
    "adapter config"
)


@pytest.mark.parametrize(
    ("code", "model", "stdout", "state", "text"),
    [
        (0, MODEL, INIT, None, "Failed to parse Claude JSON output"),
        (None, "", "", None, "Claude exited with code -1"),
        (2, "", "", None, "Claude exited with code 2"),
        (1, MODEL, INIT, None, AFTER_INIT),
        (1, MODEL, f"{INIT}\nError: bad request\n", None, "Claude exited with code 1: Error: bad request"),
        (1, MODEL, f'{INIT}\n{{"type":"result","result":"x"}}', None, AFTER_INIT),
        (1, "x", f"\n\n  real error line  \n{INIT}", None, "Claude exited with code 1: real error line"),
        (
            1,
            MODEL,
            INIT,
            Terminated(1, "Error", "no such model"),
            f"{AFTER_INIT} [pod: reason=Error, message=no such model]",
        ),
        (
            137,
            "",
            "",
            Terminated(137, "OOMKilled"),
            "Claude exited with code 137 [pod: reason=OOMKilled, SIGKILL (commonly OOMKilled)]",
        ),
        (1, "", "", Terminated(1, signal=9), "Claude exited with code 1 [pod: signal=9]"),
        (1, "other", INIT, None, NO_RESULT),
    ],
)
def test_error_of_a_run_without_result_depends_on_exit_code_output_and_container(
    code: int | None, model: str, stdout: str, state: Terminated | None, text: str
) -> None:
    assert helpers.build_partial_run_error(code, model, stdout, state) == text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            Terminated(137, "OOMKilled", "out of memory"),
            "exit code 137, SIGKILL (commonly OOMKilled), reason=OOMKilled, message=out of memory",
        ),
        (Terminated(143), "exit code 143, SIGTERM"),
        (Terminated(None, "Error"), "no exit code, reason=Error"),
        (Terminated(1, signal=9), "exit code 1, signal 9"),
        (None, "pod state unavailable — exit cause unknown"),
    ],
)
def test_truncation_cause_lists_the_facts_of_the_container_state(state: Terminated | None, text: str) -> None:
    assert helpers.describe_truncation_cause(state) == text


def test_truncation_cause_without_container_state_is_what_is_known_of_the_pod() -> None:
    gone = helpers.describe_truncation_cause(None, pod_missing=True)
    assert gone.startswith("pod is gone — Job pod was removed (eviction, preemption, or external delete)")
    late = helpers.describe_truncation_cause(None, pod_missing=False, phase="Running")
    assert late.startswith("container terminated state not yet observable (pod phase=Running) — kubelet")


@pytest.mark.parametrize(
    ("status", "aborts"),
    [
        ("cancelled", True),
        ("cancelling", True),
        *((word, False) for word in ("succeeded", "failed", "completed")),
        *((word, False) for word in ("running", "queued", "pending", "unknown", "", None)),
    ],
)
def test_run_is_aborted_only_for_a_status_of_cancellation(status: str | None, aborts: bool) -> None:  # noqa: FBT001
    assert helpers.should_abort_for_cancellation(status) is aborts


def test_cluster_error_is_a_404_only_if_its_status_is_404() -> None:
    assert helpers.is_k8s_404(ClusterError(404, "NotFound", "no such job"))
    assert not helpers.is_k8s_404(ClusterError(None, "Timeout", "404"))
    assert not helpers.is_k8s_404(ClusterError(500, "InternalError", "HTTP-Code: 404"))
    assert not helpers.is_k8s_404(ValueError("404"))
    assert not helpers.is_k8s_404(404)


class ClientError(Exception):
    """An exception of another Kubernetes client."""

    def __init__(self, message: str = "", **fields: object) -> None:
        super().__init__(message)
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("error", "is_404"),
    [
        (ClientError(status=404), True),
        (ClientError(statusCode=404), True),
        (ClientError(status_code=404), True),
        (ClientError(response=ClientError(status=404)), True),
        (ClientError(response={"statusCode": 404}), True),
        (ClientError("HTTP-Code: 404\nMessage: Unknown API Status Code!"), True),
        (ClientError(status=500), False),
        (ClientError(response=None), False),
        (ClientError("HTTP-Code: 4040"), False),
    ],
)
def test_404_of_another_client_is_recognised(error: Exception, is_404: bool) -> None:  # noqa: FBT001
    assert helpers.is_k8s_404(error) is is_404


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({}, None),
        ({"subtype": "", "result": "  "}, None),
        ({"subtype": "error_x"}, "Claude run failed: subtype=error_x"),
        ({"subtype": "success", "result": " no "}, "Claude run failed: no"),
        (
            {"errors": [{"message": "a"}, {"error": "b"}, {"code": "c"}, "d", 5, {}]},
            "Claude run failed: a; b; c; d",
        ),
    ],
)
def test_claude_failure_is_described_by_subtype_result_and_errors(
    result: dict[str, object], text: str | None
) -> None:
    assert helpers.describe_claude_failure(result) == text


def test_error_of_a_run_without_result_tolerates_spaces_in_json_and_names_a_signal() -> None:
    message = helpers.build_partial_run_error(1, MODEL, json.dumps({"type": "system", "model": MODEL}))
    assert message == AFTER_INIT
    killed = helpers.build_partial_run_error(143, MODEL, INIT)
    assert killed == (
        "Claude was killed by SIGTERM (exit code 143) after init and before its first complete answer "
        f"(model: {MODEL})"
    )


@pytest.mark.parametrize("cut", [5, 9, 30, 60])
def test_error_of_a_run_without_result_does_not_quote_a_cut_event(cut: int) -> None:
    stdout = f"{INIT}\n{INIT[:cut]}"
    assert helpers.build_partial_run_error(1, MODEL, stdout) == AFTER_INIT
    assert helpers.build_partial_run_error(1, MODEL, stdout.encode()) == AFTER_INIT


def test_error_of_a_run_without_result_quotes_other_json_than_events() -> None:
    message = helpers.build_partial_run_error(1, MODEL, '{"error": "no key"}\n')
    assert message == 'Claude exited with code 1: {"error": "no key"}'


def test_description_of_an_ended_pod_names_phase_exit_code_and_reason_of_claude() -> None:
    ended = ContainerSnapshot("claude", Terminated(1, "Error"))
    sidecar = ContainerSnapshot("dind", Terminated(0, "Completed"))
    describe = helpers.describe_pod_terminated_error
    assert describe("p", "Failed", [sidecar, ended]) == "Pod p reached phase=Failed: claude exited 1 (Error)"
    assert describe("p", "Failed", [sidecar]) == "Pod p reached phase=Failed"
    silent = ContainerSnapshot("claude", Terminated(None))
    assert (
        describe("p", "Failed", [silent]) == "Pod p reached phase=Failed: claude exited unknown (no reason)"
    )


@pytest.mark.parametrize(
    ("claimant", "found"),
    [
        (Claimant("run-2", task="task-1"), "reattach"),
        (Claimant("run-1", task=None, adopts_orphans=False), "reattach"),
        (Claimant("run-2", task="task-1", adopts_orphans=False), "block_reattach_disabled"),
        (Claimant("run-2", task=None), "block_task_unknown"),
        (Claimant("run-2", task="task-2"), "block_task_mismatch"),
    ],
)
def test_orphan_is_adopted_or_the_reason_against_it_is_returned(claimant: Claimant, found: str) -> None:
    assert helpers.classify_orphan(a_job(run="run-1", task="task-1"), claimant) == found


def test_max_turns_and_unknown_sessions_are_recognised() -> None:
    assert helpers.is_claude_max_turns_result({"subtype": "error_max_turns"})
    assert helpers.is_claude_max_turns_result({"terminal_reason": "max_turns"})
    assert helpers.is_claude_max_turns_result({"stop_reason": "max_turns"})
    assert not helpers.is_claude_max_turns_result({"subtype": "success"})
    assert not helpers.is_claude_max_turns_result(None)
    unknown = {"errors": ["No conversation found with session ID: x"]}
    assert helpers.is_claude_unknown_session_error(unknown)
    assert helpers.is_claude_unknown_session_error({"result": "Unknown session abc"})
    assert helpers.is_claude_unknown_session_error({"errors": [{"message": "session abc not found"}]})
    assert helpers.is_claude_unknown_session_error({"result": "Claude: the session abc was not found"})
    assert not helpers.is_claude_unknown_session_error({"result": "fine"})


def test_login_url_of_claude_is_found_in_text() -> None:
    text = "Please visit (https://claude.ai/oauth/authorize?x=1). Thanks, https://example.com/other"
    assert helpers.extract_claude_login_url(text) == "https://claude.ai/oauth/authorize?x=1"
    assert helpers.extract_claude_login_url("see https://example.com") is None


@pytest.mark.parametrize(
    ("kept", "chunk", "cap", "tail"),
    [
        ("aé", "é", 3, "é"),
        ("aé", "é", 4, "éé"),
        ("aé", "é", 5, "aéé"),
        ("ab", "cd", 3, "bcd"),
        ("", "\U0001f600x", 4, "x"),
        ("ab", "", 1, "b"),
        ("ab", "cd", 0, ""),
    ],
)
def test_appended_text_is_cut_at_its_beginning_to_the_byte_cap(
    kept: str, chunk: str, cap: int, tail: str
) -> None:
    assert helpers.append_with_byte_cap(kept, chunk, cap) == tail


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ('{"a":[]}', {"a": []}), ("null", None), ("{", None), ("", None), ("x", None)],
)
def test_parse_json_returns_none_for_invalid_text(text: str, value: object) -> None:
    assert helpers.parse_json(text) == value
