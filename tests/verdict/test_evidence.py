"""What the host may conclude from each failure: one row per error code."""

from datetime import UTC, datetime
from typing import Any

import pytest

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude.classification import ClassifiedFailure, FailureClass
from paperclip_claude_k8s.cluster.port import UNUSABLE_CREDENTIALS, ClusterError
from paperclip_claude_k8s.error_codes import ErrorCode
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.verdict.result_builder import CONTINUATION, ResultInputs, early_failure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOWN = ClusterError(503, "ServiceUnavailable", "try later")
REFUSED = ClusterError(403, "Forbidden", 'User "x" cannot create resource "jobs"')
QUOTA = ClusterError(403, "Forbidden", "exceeded quota: few")
NO_RESPONSE = ClusterError(None, "Unreachable", "connection refused")
NO_CREDENTIALS = ClusterError(None, UNUSABLE_CREDENTIALS, "kubeconfig x does not exist")
INVALID = ClusterError(422, "Invalid", "spec is invalid")


def reported_by_claude(which: FailureClass) -> Failure:
    return failures.reported_by_claude(ClassifiedFailure(which, "its text"), "Claude run failed")


B, C = "bootstrap", "continuation"
"""Evidence of a failure. B: the agent certainly did nothing. C: it may have worked.

A third kind, "interrupted": the agent was stopped cleanly.
"""
TRANSIENT = "transient_upstream"
ROWS: list[tuple[Failure, str, str, str | None, bool]] = [
    # failure, error code, evidence, error family, whether the host clears the session
    (failures.config_invalid("x"), "k8s_config_invalid", B, None, False),
    (failures.server_too_old("enableDocker", (1, 29), (1, 20)), "k8s_config_invalid", B, None, False),
    (failures.remote_target("ssh"), "k8s_config_invalid", B, None, False),
    (failures.init_needs_leases(), "k8s_config_invalid", B, None, False),
    (failures.policy_refused(Refusal("image", "x", "images")), "k8s_policy_refused", B, None, False),
    (failures.policy_unusable("x"), "k8s_policy_refused", B, None, False),
    (failures.agent_id_invalid("!"), "k8s_agent_id_invalid", B, None, False),
    (failures.prompt_too_large(9, 8), "k8s_prompt_too_large", B, None, False),
    (failures.prompt_not_staged(9, "full"), "k8s_prompt_too_large", B, None, False),
    (failures.template_too_long("x", 8), "k8s_prompt_too_large", B, None, False),
    (failures.home_pod_unavailable("p", "gone"), "k8s_home_pod_unavailable", B, None, False),
    (failures.home_pod_unavailable("p", "x", DOWN), "k8s_home_pod_unavailable", B, TRANSIENT, False),
    (failures.home_pod_unavailable("p", "x", NO_RESPONSE), "k8s_home_pod_unavailable", B, TRANSIENT, False),
    (failures.home_pod_unavailable("p", "x", REFUSED), "k8s_home_pod_unavailable", B, None, False),
    (failures.home_pod_unavailable("p", "x", NO_CREDENTIALS), "k8s_home_pod_unavailable", B, None, False),
    (failures.guard_unreachable(DOWN), "k8s_concurrency_guard_unreachable", B, TRANSIENT, False),
    (failures.run_blocked("j"), "k8s_concurrent_run_blocked", B, TRANSIENT, False),
    (failures.slot_held("r"), "k8s_concurrent_run_blocked", B, TRANSIENT, False),
    (failures.orphan_task_unknown("j"), "k8s_orphan_task_unknown", B, None, False),
    (failures.orphan_session_mismatch("j", "a", "b"), "k8s_orphan_session_mismatch", B, None, False),
    (failures.job_create_failed("j", DOWN), "k8s_job_create_failed", B, TRANSIENT, False),
    (failures.job_create_failed("j", NO_CREDENTIALS), "k8s_job_create_failed", B, None, False),
    (failures.job_create_failed("j", QUOTA), "k8s_job_create_failed", B, TRANSIENT, False),
    (failures.job_create_failed("j", REFUSED), "k8s_job_create_failed", B, None, False),
    (failures.job_create_failed("j", INVALID), "k8s_job_create_failed", B, None, False),
    (failures.secret_create_failed("j", DOWN), "k8s_prompt_secret_create_failed", B, TRANSIENT, False),
    (failures.secret_create_failed("j", REFUSED), "k8s_prompt_secret_create_failed", B, None, False),
    (failures.pod_schedule_failed("x", retryable=True), "k8s_pod_schedule_failed", B, TRANSIENT, False),
    (failures.pod_schedule_failed("x", retryable=False), "k8s_pod_schedule_failed", B, None, False),
    (failures.pod_reattach_failed("x"), "k8s_pod_reattach_failed", C, None, False),
    (failures.pod_reattach_failed("x", retryable=True), "k8s_pod_reattach_failed", C, TRANSIENT, False),
    (failures.adoption_failed("j", NO_RESPONSE), "k8s_pod_reattach_failed", C, TRANSIENT, False),
    (failures.adoption_failed("j", REFUSED), "k8s_pod_reattach_failed", C, None, False),
    (
        failures.as_adopted(failures.pod_schedule_failed("x", retryable=True)),
        "k8s_pod_reattach_failed",
        C,
        TRANSIENT,
        False,
    ),
    (
        failures.as_adopted(failures.pod_schedule_failed("x", retryable=False)),
        "k8s_pod_reattach_failed",
        C,
        None,
        False,
    ),
    (failures.pod_disrupted("p", "Evicted", "", started=True), "k8s_pod_disrupted", C, TRANSIENT, False),
    (failures.pod_disrupted("p", "Evicted", "", started=False), "k8s_pod_disrupted", B, TRANSIENT, False),
    (failures.pod_disrupted("p", "PodDeleted", "", started=None), "k8s_pod_disrupted", C, TRANSIENT, False),
    (
        failures.as_possibly_started(failures.pod_schedule_failed("x", retryable=True)),
        "k8s_pod_schedule_failed",
        C,
        TRANSIENT,
        False,
    ),
    (failures.pods_remain("p"), "k8s_concurrent_run_blocked", B, TRANSIENT, False),
    (failures.init_needs_version((1, 29), (1, 20)), "k8s_config_invalid", B, None, False),
    (failures.run_taken_over("j"), "k8s_run_taken_over", C, None, False),
    (failures.job_deleted_externally("f"), "k8s_job_deleted_externally", C, None, False),
    (failures.job_state_mismatch("j", "x"), "k8s_job_state_mismatch", C, None, False),
    (failures.files_changed("a.md: FAILED"), "k8s_files_changed", B, None, False),
    (failures.workspace_unavailable("w", "s"), "k8s_workspace_unavailable", B, None, False),
    (
        failures.workspace_unavailable("w", "s", retryable=True),
        "k8s_workspace_unavailable",
        B,
        TRANSIENT,
        False,
    ),
    (failures.session_volume_unavailable("w", "s"), "k8s_session_volume_unavailable", B, None, False),
    (failures.log_limit_exceeded("1Gi"), "k8s_log_limit_exceeded", C, None, False),
    (failures.timeout(5), "timeout", C, None, False),
    (failures.cancelled(proven=True), "cancelled", "interrupted", None, False),
    (failures.cancelled(proven=False), "cancelled", C, None, False),
    (failures.empty_reply("x"), "llm_api_error", C, TRANSIENT, False),
    (failures.truncated("x"), "claude_truncated", C, TRANSIENT, False),
    (failures.init_failed("x"), "claude_init_failed", C, None, False),
    (failures.no_result("x"), "claude_no_result", C, None, False),
    (reported_by_claude(FailureClass.AUTH_REQUIRED), "claude_auth_required", C, None, False),
    (reported_by_claude(FailureClass.QUOTA), "provider_quota", C, "provider_quota", False),
    (reported_by_claude(FailureClass.TRANSIENT), "claude_transient_upstream", C, TRANSIENT, False),
    (reported_by_claude(FailureClass.CREDIT_EXHAUSTED), "claude_credit_exhausted", C, None, False),
    (reported_by_claude(FailureClass.MODEL_NOT_FOUND), "model_not_found", C, None, False),
    (reported_by_claude(FailureClass.PROMPT_TOO_LONG), "claude_prompt_too_long", C, None, False),
    (reported_by_claude(FailureClass.MAX_BUDGET), "claude_max_budget", C, None, False),
    (reported_by_claude(FailureClass.MAX_OUTPUT), "claude_max_output", C, None, False),
    (reported_by_claude(FailureClass.REFUSAL), "claude_refusal", C, "model_refusal", True),
    (reported_by_claude(FailureClass.CONTENT_FILTER), "claude_refusal", C, "model_refusal", False),
    (reported_by_claude(FailureClass.MAX_TURNS), "max_turns_exhausted", C, None, False),
    (failures.max_turns_again("x"), "claude_max_turns", C, None, False),
    (reported_by_claude(FailureClass.SESSION_UNAVAILABLE), "session_unavailable", C, None, True),
    (reported_by_claude(FailureClass.POISONED_SESSION), "claude_poisoned_previous_message_id", C, None, True),
    (reported_by_claude(FailureClass.EMPTY_REPLY), "llm_api_error", C, TRANSIENT, False),
    (reported_by_claude(FailureClass.OTHER), "claude_failed", C, None, False),
]
EVIDENCE: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    # evidence: `executionRecovery` and `resultJson` of the result
    B: ({"kind": "bootstrap", "providerWorkStarted": False}, {}),
    C: (None, dict(CONTINUATION)),
    "interrupted": (
        {
            "kind": "interrupted",
            "providerStopped": True,
            "sessionPreserved": True,
            "actionOutcomes": "settled",
        },
        {
            "executionCancellation": {
                "state": "acknowledged",
                "acknowledgedAt": "2026-01-01T00:00:00.000Z",
                "forced": False,
            }
        },
    ),
}


@pytest.mark.parametrize(
    ("failure", "code", "evidence", "family", "clears"),
    ROWS,
    ids=[f"{row[1]}-{number}" for number, row in enumerate(ROWS)],
)
def test_result_has_code_family_and_evidence(
    failure: Failure,
    code: str,
    evidence: str,
    family: str | None,
    clears: bool,  # noqa: FBT001
) -> None:
    wire = early_failure(failure, ResultInputs(now=NOW)).to_wire()
    recovery, result_json = EVIDENCE[evidence]
    assert wire["errorCode"] == code
    assert wire.get("errorFamily") == family
    assert wire["clearSession"] is clears
    assert wire.get("executionRecovery") == recovery
    assert wire["resultJson"] == result_json
    assert wire["usageBasis"] == "per_run"
    assert wire["timedOut"] is (code == "timeout")
    assert wire["errorMessage"]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[1]}-{number}" for number, row in enumerate(ROWS)])
def test_continuation_marker_can_be_switched_off(row: tuple[Failure, str, str, str | None, bool]) -> None:
    wire = early_failure(row[0], ResultInputs(now=NOW, continuation_marker=False)).to_wire()
    assert "conversationContinuation" not in wire["resultJson"]


def test_every_error_code_has_an_evidence_row() -> None:
    assert {row[1] for row in ROWS} == {str(code) for code in ErrorCode}
