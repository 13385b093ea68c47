"""What stays in the cluster when a run leaves its Job."""

import pytest

from paperclip_claude_k8s.verdict.retention import LeaveReason, reason_to_keep


@pytest.mark.parametrize("how", ["shutdown", "lost", "unclear", "unwritten", "bug"])
@pytest.mark.parametrize("retain", [True, False])
def test_a_job_is_kept_where_its_result_may_still_be_needed(how: LeaveReason, retain: bool) -> None:  # noqa: FBT001
    assert reason_to_keep(how, retain=retain)


def test_any_other_job_goes_unless_it_is_to_be_retained() -> None:
    assert reason_to_keep("done", retain=False) is None
    assert reason_to_keep("done", retain=True) == "retainJobs=true"
