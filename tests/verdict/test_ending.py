"""Which states of Job and Pod end a run, and with which `Ending`."""

import pytest
from tests.support.objects import a_job, a_pod, finished

from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    ContainerState,
    Known,
    Running,
    Terminated,
)
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Disrupted,
    Ending,
    Exited,
    JobGone,
    NotStarted,
    PodLost,
    end_without_pod,
    judge_ending,
)


def test_unknown_state_is_not_an_ending() -> None:
    assert judge_ending(Known()) is None


def test_running_container_of_a_deleting_job_is_not_an_ending() -> None:
    assert judge_ending(Known(job=a_job(deleting=True), pod=a_pod(Running(), phase="Running"))) is None


def test_finished_job_with_running_container_is_not_an_ending() -> None:
    known = Known(job=a_job(conditions=finished()), pod=a_pod(Running(), phase="Running"))
    assert judge_ending(known) is None


def test_deleted_job_with_running_pod_is_not_an_ending() -> None:
    assert judge_ending(Known(job=a_job(), pod=a_pod(Running(), phase="Running"), job_gone=True)) is None


def test_terminated_container_ends_the_run() -> None:
    terminated = Terminated(0, "Completed")
    assert judge_ending(Known(job=a_job(), pod=a_pod(terminated, phase="Running"))) == Exited(terminated)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("name", ["istio-proxy", "linkerd-proxy", "claude-proxy"])
def test_injected_container_is_never_taken_for_the_agent(name: str, order: int) -> None:
    def judged(agent: ContainerState, injected: ContainerState) -> Ending | None:
        containers = (ContainerSnapshot(name, injected), ContainerSnapshot("claude", agent))[::order]
        return judge_ending(Known(job=a_job(), pod=a_pod(phase="Running", containers=containers)))

    done, crashed = Terminated(0, "Completed"), Terminated(1, "Error")
    assert judged(done, Running()) == Exited(done)
    assert judged(done, crashed) == Exited(done)
    assert judged(Running(), crashed) is None


def test_deleted_job_without_running_container_is_an_ending() -> None:
    terminated = Terminated(143, "Error")
    assert judge_ending(Known(job=a_job(deleting=True), pod=a_pod(terminated))) == JobGone(
        "watch", terminated
    )
    assert judge_ending(Known(job=a_job(), job_gone=True, pod_gone=True)) == JobGone("watch")


def test_exceeded_job_deadline_is_an_ending() -> None:
    known = Known(job=a_job(conditions=finished("Failed", "DeadlineExceeded")), pod=a_pod(), pod_gone=True)
    assert judge_ending(known) == DeadlinePassed()


def test_evicted_pod_is_disrupted() -> None:
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
def test_drained_pod_is_disrupted_for_the_reason_in_its_condition(reason: str) -> None:
    drained = Condition("DisruptionTarget", "True", reason, "drained by an administrator")
    ending = judge_ending(Known(job=a_job(), pod=a_pod(Terminated(143), conditions=(drained,))))
    assert isinstance(ending, Disrupted)
    assert (ending.reason, ending.details) == (reason, "drained by an administrator")


TARGET = Condition("DisruptionTarget", "True", "TerminationByKubelet")
NODE_SHUTDOWN = "Pod was terminated in response to imminent node shutdown."


@pytest.mark.parametrize(
    ("reason", "message", "conditions"),
    [
        pytest.param("Terminated", NODE_SHUTDOWN, (TARGET,), id="node shutdown since Kubernetes 1.26"),
        pytest.param("Terminated", NODE_SHUTDOWN, (), id="node shutdown since Kubernetes 1.22"),
        pytest.param(
            "Shutdown", "Node is shutting, evicting pods", (), id="node shutdown before Kubernetes 1.22"
        ),
        pytest.param("Evicted", "The node was low on resource: memory.", (), id="node out of memory"),
        pytest.param("Evicted", "Pod ephemeral local storage usage exceeds", (TARGET,), id="disk"),
        pytest.param("Preempting", "Preempted in order to admit critical pod", (), id="critical Pod"),
        pytest.param("NodeLost", "Node x which was running pod y is unresponsive", (), id="node lost"),
        pytest.param("NodeAffinity", "Predicate NodeAffinity failed", (), id="kubelet restarted"),
        pytest.param("UnexpectedAdmissionError", "Allocate failed", (), id="device lost"),
    ],
)
@pytest.mark.parametrize("exit_code", [137, 143])
def test_reason_of_a_failed_pod_is_the_cause_of_its_end(
    reason: str, message: str, conditions: tuple[Condition, ...], exit_code: int
) -> None:
    pod = a_pod(Terminated(exit_code), phase="Failed", reason=reason, message=message, conditions=conditions)
    ending = judge_ending(Known(job=a_job(), pod=pod))
    assert isinstance(ending, Disrupted)
    assert reason in ending.reason
    assert ending.details == message


def test_pod_that_exceeded_its_own_deadline_timed_out() -> None:
    pod = a_pod(Terminated(143, "Error"), phase="Failed", reason="DeadlineExceeded")
    ending = judge_ending(Known(job=a_job(), pod=pod))
    assert isinstance(ending, DeadlinePassed)


def test_reason_of_a_succeeded_pod_is_no_disruption() -> None:
    """Some virtual kubelets set a reason."""
    pod = a_pod(Terminated(0, "Completed"), phase="Succeeded", reason="Completed")
    assert isinstance(judge_ending(Known(job=a_job(), pod=pod)), Exited)


@pytest.mark.parametrize(("reason", "exit_code"), [("ContainerStatusUnknown", 137), ("Unknown", 255)])
def test_container_that_the_kubelet_did_not_find_is_disrupted(reason: str, exit_code: int) -> None:
    message = "The container could not be located when the pod was terminated"
    pod = a_pod(Terminated(exit_code, reason, message), phase="Failed")
    ending = judge_ending(Known(job=a_job(), pod=pod))
    assert isinstance(ending, Disrupted)
    assert ending.reason == "ContainerLost"
    assert message in ending.details


def test_deleted_pod_of_a_live_job_is_disrupted() -> None:
    ending = judge_ending(Known(job=a_job(), pod=a_pod(Running(), phase="Running"), pod_gone=True))
    assert isinstance(ending, Disrupted)
    assert ending.reason == "PodDeleted"


def test_ending_without_a_pod_comes_from_the_job_condition() -> None:
    deadline, failed, complete = (
        Condition("Failed", "True", "DeadlineExceeded"),
        Condition("Failed", "True", "BackoffLimitExceeded", "Job has reached the limit"),
        Condition("Complete", "True"),
    )
    assert end_without_pod("j", deadline, adopted=True) == DeadlinePassed()
    for condition in (failed, complete):
        lost = end_without_pod("j", condition, adopted=True)
        assert isinstance(lost, PodLost)
        assert lost.failure.code == "k8s_pod_reattach_failed"
        assert f"Job j has finished ({condition.type}" in lost.failure.message
    unknown = end_without_pod("j", failed, adopted=False)
    assert isinstance(unknown, PodLost)
    assert (unknown.failure.code, unknown.failure.evidence) == ("k8s_pod_disrupted", "continuation")
    assert "never observed" in unknown.failure.message
    never_had_pod = end_without_pod("j", Condition("Failed", "True", "InvalidSpec", "no"), adopted=False)
    assert isinstance(never_had_pod, NotStarted)
    assert "failed before it had a Pod" in never_had_pod.failure.message
    ran = end_without_pod("j", complete, adopted=False)
    assert isinstance(ran, PodLost)
    assert (ran.failure.code, ran.failure.evidence) == ("k8s_pod_disrupted", "continuation")
