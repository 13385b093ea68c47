import pytest
from tests.support.objects import a_job, a_pod, finished

from paperclip_claude_k8s.cluster.model import Condition, Known, Running, Terminated
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Disrupted,
    Exited,
    JobGone,
    NotStarted,
    PodLost,
    end_without_pod,
    judge_ending,
)


def test_nothing_known_ends_nothing() -> None:
    assert judge_ending(Known()) is None


def test_a_running_container_ends_nothing_even_when_its_job_is_being_deleted() -> None:
    assert judge_ending(Known(job=a_job(deleting=True), pod=a_pod(Running(), phase="Running"))) is None


def test_a_finished_job_alone_ends_nothing_while_its_container_runs() -> None:
    known = Known(job=a_job(conditions=finished()), pod=a_pod(Running(), phase="Running"))
    assert judge_ending(known) is None


def test_a_job_that_is_gone_is_waited_out_while_its_pod_still_writes() -> None:
    assert judge_ending(Known(job=a_job(), pod=a_pod(Running(), phase="Running"), job_gone=True)) is None


def test_the_containers_end_is_the_runs_end() -> None:
    how = Terminated(0, "Completed")
    assert judge_ending(Known(job=a_job(), pod=a_pod(how, phase="Running"))) == Exited(how)


def test_a_job_deleted_by_somebody_is_told_with_how_its_container_ended() -> None:
    how = Terminated(143, "Error")
    assert judge_ending(Known(job=a_job(deleting=True), pod=a_pod(how))) == JobGone("watch", how)
    assert judge_ending(Known(job=a_job(), job_gone=True, pod_gone=True)) == JobGone("watch")


def test_kubernetes_own_deadline_is_a_time_limit() -> None:
    known = Known(job=a_job(conditions=finished("Failed", "DeadlineExceeded")), pod=a_pod(), pod_gone=True)
    assert judge_ending(known) == DeadlinePassed()


def test_an_evicted_pod_was_disrupted() -> None:
    pod = a_pod(Terminated(137), phase="Failed", reason="Evicted", message="low on disk")
    assert judge_ending(Known(job=a_job(), pod=pod)) == Disrupted(
        "pod", "Evicted", "low on disk", Terminated(137)
    )


@pytest.mark.parametrize(
    "reason",
    [
        "PreemptionByScheduler",
        "DeletionByTaintManager",
        "EvictionByEvictionAPI",
        "DeletionByPodGC",
        "TerminationByKubelet",
    ],
)
def test_a_drained_pod_is_named_by_its_disruption_condition(reason: str) -> None:
    drained = Condition("DisruptionTarget", "True", reason, "somebody wanted it gone")
    ending = judge_ending(Known(job=a_job(), pod=a_pod(Terminated(143), conditions=(drained,))))
    assert isinstance(ending, Disrupted)
    assert (ending.reason, ending.details) == (reason, "somebody wanted it gone")


def test_a_pod_that_vanished_under_a_living_job_was_disrupted() -> None:
    ending = judge_ending(Known(job=a_job(), pod=a_pod(Running(), phase="Running"), pod_gone=True))
    assert isinstance(ending, Disrupted)
    assert ending.reason == "PodDeleted"


def test_without_a_pod_the_jobs_condition_tells_what_there_is_to_tell() -> None:
    over, failed, done = (
        Condition("Failed", "True", "DeadlineExceeded"),
        Condition("Failed", "True", "BackoffLimitExceeded", "Job has reached the limit"),
        Condition("Complete", "True"),
    )
    assert end_without_pod("j", over, adopted=True) == DeadlinePassed()
    for condition in (failed, done):
        lost = end_without_pod("j", condition, adopted=True)
        assert isinstance(lost, PodLost)
        assert lost.failure.code == "k8s_pod_reattach_failed"
        assert f"Job j has finished ({condition.type}" in lost.failure.message
    fresh = end_without_pod("j", failed, adopted=False)
    assert isinstance(fresh, NotStarted)
    assert "failed before it had a Pod" in fresh.failure.message
    ran = end_without_pod("j", done, adopted=False)
    assert isinstance(ran, PodLost)
    assert (ran.failure.code, ran.failure.evidence) == ("k8s_pod_disrupted", "continuation")
