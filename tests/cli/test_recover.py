"""What the Jobs of a held task prove about its run."""

import pytest

from paperclip_claude_k8s.cli.recover_command import judge
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.cluster.model import Condition, JobRef, JobSnapshot


def a_job(run: str, end: str = "", *, taken: bool = False) -> JobSnapshot:
    return JobSnapshot(
        JobRef("agents", f"ac-{run}", f"uid-{run}"),
        "1",
        None,
        labels={labels.RUN_LABEL: run},
        annotations={labels.TAKEN_ANNOTATION: "2026-01-01T00:00:00Z"} if taken else {},
        conditions=(Condition(end, "True"),) if end else (),
    )


@pytest.mark.parametrize(
    ("jobs", "state", "completed"),
    [
        ([], "absent", False),
        ([a_job("other", "Complete")], "absent", False),
        ([a_job("run-1")], "running", False),
        ([a_job("run-1", "Complete"), a_job("other")], "running", False),
        ([a_job("run-1", "Complete")], "finished", True),
        ([a_job("run-1", "Failed")], "finished", False),
        ([a_job("run-1", "Complete", taken=True)], "collected", True),
    ],
)
def test_jobs_of_a_task_prove_how_its_run_ended(
    jobs: list[JobSnapshot],
    state: str,
    completed: bool,  # noqa: FBT001
) -> None:
    finding = judge("run-1", "agents", jobs)
    assert (finding.state, finding.completed) == (state, completed)
    assert len(finding.evidence) >= 20, "the server refuses shorter evidence"
    assert "agents" in finding.evidence
