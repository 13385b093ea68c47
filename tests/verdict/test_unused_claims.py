"""Which PersistentVolumeClaims may be removed."""

from datetime import UTC, datetime, timedelta

import pytest

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.labels import LAST_USED_ANNOTATION
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, Condition, JobRef, JobSnapshot, PodSnapshot
from paperclip_claude_k8s.verdict.unused_claims import claim_uses

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


def a_claim(used: float | None = 40, created: float | None = 100, **fields: object) -> ClaimSnapshot:
    """A claim that was last used and created this many days ago; None: the claim does not say it."""
    annotations = {LAST_USED_ANNOTATION: format_time(NOW - timedelta(days=used))} if used is not None else {}
    made = NOW - timedelta(days=created) if created is not None else None
    return ClaimSnapshot("ns", "c", "uid", created=made, annotations=annotations, **fields)  # type: ignore[arg-type]


def a_job(*conditions: Condition, suspended: bool = False) -> JobSnapshot:
    ref = JobRef("ns", "j", "uid-j")
    return JobSnapshot(ref, "1", NOW, claims=frozenset({"c"}), conditions=conditions, suspended=suspended)


def a_pod(phase: str) -> PodSnapshot:
    return PodSnapshot("ns", "p", "uid-p", phase=phase, claims=frozenset({"c", "other"}))


def why_kept(claim: ClaimSnapshot, *users: JobSnapshot | PodSnapshot) -> str:
    jobs = [user for user in users if isinstance(user, JobSnapshot)]
    pods = [user for user in users if isinstance(user, PodSnapshot)]
    (use,) = claim_uses([claim], jobs, pods)
    return use.why_kept(NOW, MONTH)


def test_claim_unused_for_longer_may_be_removed() -> None:
    assert why_kept(a_claim()) == ""
    assert why_kept(a_claim(used=None)) == ""


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (a_claim(used=29), "it was used 29.0 days ago"),
        (a_claim(used=-5), "it was used 0.0 days ago"),  # by a host whose clock is ahead
        (a_claim(used=400, created=3), "it was used 3.0 days ago"),  # the later of the two times
        (a_claim(used=None, created=None), "it is unknown when it was last used"),
        (a_claim(deleting=True), "it is being deleted already"),
    ],
)
def test_claim_that_may_be_in_use_or_is_being_deleted_is_kept(claim: ClaimSnapshot, why: str) -> None:
    assert why_kept(claim) == why


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (a_job(), "Job/j"),
        (a_job(suspended=True), "Job/j"),
        (a_pod("Pending"), "Pod/p"),
        (a_pod("Running"), "Pod/p"),
    ],
)
def test_claim_of_an_unfinished_job_or_pod_is_kept(user: JobSnapshot | PodSnapshot, name: str) -> None:
    assert why_kept(a_claim(), user) == f"{name} uses it"


def test_finished_jobs_and_pods_do_not_keep_a_claim() -> None:
    assert why_kept(a_claim(), a_job(Condition("Complete", "True")), a_pod("Succeeded")) == ""
