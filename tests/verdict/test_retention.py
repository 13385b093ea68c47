"""Whether a Job stays in the cluster when its run no longer needs it."""

from typing import Any

import pytest
from tests.support.objects import a_job, a_pod, finished

from paperclip_claude_k8s.cluster.model import Known
from paperclip_claude_k8s.verdict.retention import LeaveReason, never_finishes, pod_stays, reason_to_keep


@pytest.mark.parametrize(
    "reason", ["shutdown", "taken_over", "end_unknown", "not_recorded", "detached", "bug"]
)
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


@pytest.mark.parametrize(
    ("known", "stays"),
    [
        (Known(a_job(), a_pod(phase="Failed")), True),
        (Known(a_job(), a_pod(phase="Failed", deleting=True)), False),
        (Known(a_job(), a_pod(phase="Failed"), pod_gone=True), False),
        (Known(a_job()), False),
    ],
)
def test_pod_that_is_deleted_or_gone_does_not_stay(known: Known, stays: bool) -> None:  # noqa: FBT001
    assert pod_stays(known) is stays


STOPPED = {"parallelism": 0}
"""Fields of a Job that creates no Pod any more."""


@pytest.mark.parametrize(
    ("job", "pod", "pod_gone", "is_endless"),
    [
        (STOPPED, {"phase": "Failed"}, False, True),
        (STOPPED, {"phase": "Running", "deleting": True}, False, True),
        (STOPPED, {"phase": "Running"}, True, True),
        (STOPPED, {"phase": "Succeeded"}, False, False),
        (STOPPED, {"phase": "Running"}, False, False),  # another container outlives the agent
        (STOPPED | {"conditions": finished("Failed")}, {"phase": "Failed"}, False, False),
        ({}, {"phase": "Failed"}, False, False),
    ],
)
def test_job_never_finishes_if_it_is_stopped_and_its_pod_failed(
    job: dict[str, Any],
    pod: dict[str, Any],
    pod_gone: bool,  # noqa: FBT001
    is_endless: bool,  # noqa: FBT001
) -> None:
    known = Known(a_job(**job), a_pod(**pod), pod_gone=pod_gone)
    assert never_finishes(known) is is_endless
