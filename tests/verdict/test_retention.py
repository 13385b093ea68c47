"""Whether a Job stays in the cluster when its run no longer needs it."""

import pytest

from paperclip_claude_k8s.verdict.retention import LeaveReason, reason_to_keep


@pytest.mark.parametrize("reason", ["shutdown", "taken_over", "end_unknown", "not_recorded", "bug"])
@pytest.mark.parametrize("retain", [True, False])
def test_job_is_kept_if_its_result_may_be_needed(reason: LeaveReason, retain: bool) -> None:  # noqa: FBT001
    assert reason_to_keep(reason, retain=retain)


def test_finished_job_is_kept_only_with_retain_jobs() -> None:
    assert reason_to_keep("done", retain=False) is None
    assert reason_to_keep("done", retain=True) == "retainJobs=true"


def test_finished_job_whose_log_could_not_be_read_is_kept() -> None:
    kept = reason_to_keep("done", retain=False, log_unread=True)
    assert kept is not None
    assert "could not be read" in kept
