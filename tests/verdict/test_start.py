"""Whether a Pod is still waited for (and which time budget runs), has started, or never will."""

from dataclasses import replace
from typing import Any, Literal

import pytest
from tests.support.objects import a_job, a_pod, finished

from paperclip_claude_k8s.cluster.labels import QUEUE_LABEL
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    ContainerState,
    JobSnapshot,
    Known,
    PodSnapshot,
    Running,
    Terminated,
    Waiting,
)
from paperclip_claude_k8s.verdict.start import (
    AgentStarted,
    FinishedWithoutPod,
    LostBeforeStart,
    NeverStarts,
    StartBudget,
    StartVerdict,
    StillWaiting,
    judge_start,
    never_began,
    queue_took_back,
)
from paperclip_claude_k8s.verdict.wording import describe_pod

QUEUE = {QUEUE_LABEL: "agents"}


def judged(job: JobSnapshot | None, pod: PodSnapshot | None, *, pod_gone: bool = False) -> StartVerdict:
    return judge_start(Known(job=job, pod=pod, pod_gone=pod_gone))


@pytest.mark.parametrize("state", [Running(), Terminated(0), Terminated(1, "Error")])
def test_running_or_ended_container_has_started(state: Running | Terminated) -> None:
    pod = a_pod(state, phase="Failed" if isinstance(state, Terminated) else "Running")
    assert judged(a_job(), pod) == AgentStarted(pod)


def test_missing_pod_uses_the_schedule_budget() -> None:
    verdict = judged(a_job(), None)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.SCHEDULE


def test_queued_suspended_job_uses_no_budget() -> None:
    verdict = judged(a_job(suspended=True, labels=QUEUE), None)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.NONE


def test_suspended_job_without_queue_uses_the_schedule_budget() -> None:
    verdict = judged(a_job(suspended=True), None)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.SCHEDULE
    assert "has no queue" in verdict.why


@pytest.mark.parametrize(("gone", "budget"), [(True, StartBudget.NONE), (False, StartBudget.START)])
def test_pod_suspended_by_queue_is_waited_for_even_if_failed(
    gone: bool,  # noqa: FBT001
    budget: StartBudget,
) -> None:
    pod = a_pod(Waiting("ContainerCreating"), phase="Failed", deleting=True)
    verdict = judged(a_job(suspended=True, labels=QUEUE), pod, pod_gone=gone)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is budget


def test_old_pod_of_a_readmitted_job_is_waited_for_and_then_lost() -> None:
    pod = a_pod(Waiting("ContainerCreating"), phase="Failed", deleting=True)
    known = Known(job=a_job(labels=QUEUE), pod=pod, stopped_by_job="suspended")
    assert isinstance(judge_start(known), StillWaiting)
    assert queue_took_back(replace(known, pod_gone=True))
    assert isinstance(judge_start(replace(known, pod_gone=True)), LostBeforeStart)


def test_init_exit_code_of_a_pod_suspended_by_queue_is_ignored() -> None:
    init = (ContainerSnapshot("setup", Terminated(143, "Error")),)
    pod = a_pod(Waiting("PodInitializing"), init_containers=init, deleting=True)
    verdict = judged(a_job(suspended=True, labels=QUEUE), pod)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.START


def test_pod_of_a_suspended_job_that_failed_by_itself_is_not_waited_for() -> None:
    init = (ContainerSnapshot("setup", Terminated(3, "Error")),)
    pod = a_pod(Waiting("PodInitializing"), phase="Failed", init_containers=init)
    assert isinstance(judged(a_job(suspended=True, labels=QUEUE), pod), NeverStarts)


def test_pod_suspended_by_queue_is_lost_if_nothing_proves_that_it_never_began() -> None:
    pod = a_pod(Waiting("ContainerCreating"), deleting=True)  # no final phase, so its agent may have started
    verdict = judged(a_job(suspended=True, labels=QUEUE), pod, pod_gone=True)
    assert isinstance(verdict, LostBeforeStart)
    assert verdict.reason == "JobSuspended"


@pytest.mark.parametrize(("phase", "gone"), [("Failed", False), ("Pending", True)])
@pytest.mark.parametrize("stopped", ["suspended", ""])
def test_pod_of_a_job_suspended_without_queue_names_the_suspension(
    phase: str,
    gone: bool,  # noqa: FBT001
    stopped: Literal["suspended", ""],
) -> None:
    pod = a_pod(Waiting("ContainerCreating"), phase=phase, deleting=True)
    known = Known(job=a_job(suspended=True), pod=pod, pod_gone=gone, stopped_by_job=stopped)
    verdict = judge_start(known)
    assert isinstance(verdict, LostBeforeStart)
    assert (verdict.reason, "the Job was suspended" in verdict.details) == ("JobSuspended", True)


def test_failed_pod_of_a_scaled_down_job_names_the_scaling() -> None:
    pod = a_pod(Waiting("ContainerCreating"), phase="Failed", deleting=True)
    verdict = judge_start(Known(job=a_job(parallelism=0), pod=pod, stopped_by_job="parallelism"))
    assert isinstance(verdict, LostBeforeStart)
    assert verdict.reason == "JobScaledDown"


def test_deleting_pod_uses_the_start_budget() -> None:
    verdict = judged(a_job(), a_pod(Waiting("ContainerCreating"), deleting=True))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.START


@pytest.mark.parametrize("how", ["Failed", "Complete"])
def test_finished_job_without_known_pod_requires_a_direct_read(how: str) -> None:
    job = a_job(conditions=finished(how, "Because"))
    verdict = judged(job, None)
    assert isinstance(verdict, FinishedWithoutPod)
    assert (verdict.job, verdict.condition.type) == (job.ref.name, how)


def test_unschedulable_pod_quotes_the_scheduler() -> None:
    no_room = Condition(
        "PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu."
    )
    verdict = judged(a_job(), a_pod(node="", conditions=(no_room,)))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.SCHEDULE
    assert "Insufficient cpu" in verdict.why


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_failed_image_pull_uses_the_pull_budget(reason: str) -> None:
    verdict = judged(a_job(), a_pod(Waiting(reason, "connection refused")))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.PULL
    assert "connection refused" in verdict.why


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_impossible_image_is_final(reason: str) -> None:
    verdict = judged(a_job(), a_pod(Waiting(reason, "no such thing")))
    assert isinstance(verdict, NeverStarts)
    assert "no such thing" in verdict.why


def test_missing_secret_uses_the_start_budget() -> None:
    verdict = judged(a_job(), a_pod(Waiting("CreateContainerConfigError", 'secret "x" not found')))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.START


def test_mounting_volumes_and_pulling_the_image_use_the_pull_budget() -> None:
    verdict = judged(a_job(), a_pod(Waiting("ContainerCreating")))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.PULL


@pytest.mark.parametrize(
    "init",
    [Terminated(3, "Error"), Waiting("CrashLoopBackOff", "back-off")],
)
def test_failed_init_container_is_final_and_named(init: Terminated | Waiting) -> None:
    pod = a_pod(Waiting("PodInitializing"), init_containers=(ContainerSnapshot("setup", init),))
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, NeverStarts)
    assert '"setup"' in verdict.why


SIDECAR_MESSAGE = "listen tcp :2376:\n address in use"


def sidecar(state: ContainerState) -> ContainerSnapshot:
    return ContainerSnapshot("proxy", state, sidecar=True)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Terminated(255, "Error", SIDECAR_MESSAGE), "exit code 255: Error: listen tcp :2376: address in use"),
        (Terminated(255), "exit code 255: unknown"),
        (Terminated(0, "Completed"), "exit code 0: Completed"),
        (Terminated(None, "", "gone"), "gone"),
        (Waiting("CrashLoopBackOff", "back-off 10s restarting"), "crash loop: back-off 10s restarting"),
        (Waiting("CrashLoopBackOff"), "crash loop: CrashLoopBackOff"),
        (Waiting("CreateContainerConfigError", 'secret "x" not found'), 'secret "x" not found'),
    ],
)
@pytest.mark.parametrize("deleting", [False, True])
def test_failing_sidecar_uses_the_start_budget_and_is_quoted(
    state: ContainerState,
    text: str,
    deleting: bool,  # noqa: FBT001
) -> None:
    pod = a_pod(Waiting("PodInitializing"), init_containers=(sidecar(state),), deleting=deleting)
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.START
    assert 'Sidecar "proxy"' in verdict.why
    assert text in verdict.why


@pytest.mark.parametrize("is_sidecar", [True, False])
def test_crash_loop_reports_the_previous_exit(is_sidecar: bool) -> None:  # noqa: FBT001
    loop = Waiting("CrashLoopBackOff", "back-off 10s restarting")
    last = Terminated(127, "StartError", 'exec: "dockerd": not found')
    pod = a_pod(init_containers=(ContainerSnapshot("docker", loop, sidecar=is_sidecar, last=last),))
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, StillWaiting if is_sidecar else NeverStarts)
    assert verdict.why.endswith('it ended with exit code 127: StartError: exec: "dockerd": not found')


def test_impossible_sidecar_image_is_final() -> None:
    pod = a_pod(
        Waiting("PodInitializing"), init_containers=(sidecar(Waiting("InvalidImageName", "no such thing")),)
    )
    assert isinstance(judged(a_job(), pod), NeverStarts)


@pytest.mark.parametrize("order", [1, -1])
def test_failed_init_container_is_reported_rather_than_a_restarting_sidecar(order: int) -> None:
    init = (sidecar(Terminated(255, "Error")), ContainerSnapshot("setup", Terminated(3, "Error", "no disk")))
    verdict = judged(a_job(), a_pod(Waiting("PodInitializing"), init_containers=init[::order]))
    assert verdict == NeverStarts('Init container "setup" failed with exit code 3: Error: no disk')


def test_missing_secret_of_init_container_uses_the_start_budget() -> None:
    missing = Waiting("CreateContainerConfigError", 'secret "x" not found')
    verdict = judged(a_job(), a_pod(init_containers=(ContainerSnapshot("setup", missing),)))
    assert isinstance(verdict, StillWaiting)
    assert verdict.budget is StartBudget.START
    assert 'secret "x" not found' in verdict.why


ENDED_FROM_OUTSIDE: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"reason": "Evicted", "message": "low on memory"}, "Evicted", "low on memory"),
    ({"reason": "DeadlineExceeded", "message": "too long"}, "DeadlineExceeded", "too long"),
    (
        {"conditions": (Condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "evicting"),)},
        "EvictionByEvictionAPI",
        "evicting",
    ),
    ({"deleting": True}, "PodDeleted", "the Pod was deleted"),
)


@pytest.mark.parametrize(("more", "reason", "text"), ENDED_FROM_OUTSIDE)
@pytest.mark.parametrize("phase", ["Failed", "Pending"])
@pytest.mark.parametrize("code", [1, 137, 143])
def test_pod_lost_during_init_is_reported_with_the_reason_of_the_loss(
    more: dict[str, Any], reason: str, text: str, phase: str, code: int
) -> None:
    init = (sidecar(Running()), ContainerSnapshot("setup", Terminated(code, "Error")))
    pod = a_pod(Waiting("PodInitializing"), phase=phase, init_containers=init, **more)
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, LostBeforeStart)
    assert verdict.reason == reason
    assert text in verdict.details


def test_failed_init_container_is_reported_rather_than_a_killed_sidecar() -> None:
    init = (sidecar(Terminated(137, "Error")), ContainerSnapshot("setup", Terminated(3, "Error")))
    verdict = judged(a_job(), a_pod(Waiting("PodInitializing"), phase="Failed", init_containers=init))
    assert verdict == NeverStarts('Init container "setup" failed with exit code 3: Error')


def test_failed_pod_without_reason_quotes_its_sidecars() -> None:
    pod = a_pod(
        Waiting("PodInitializing"),
        phase="Failed",
        init_containers=(sidecar(Terminated(255, "Error", SIDECAR_MESSAGE)),),
    )
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, LostBeforeStart)
    assert verdict.reason == "phase=Failed"
    assert 'Sidecar "proxy" failed with exit code 255' in verdict.details


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (a_pod(phase="Failed", reason="Evicted", message="low on memory"), "Evicted"),
        (a_pod(phase="Failed", reason="OutOfcpu", message="no cpu left"), "OutOfcpu"),
        (
            a_pod(
                phase="Failed", conditions=(Condition("DisruptionTarget", "True", "PreemptionByScheduler"),)
            ),
            "PreemptionByScheduler",
        ),
    ],
)
def test_pod_lost_before_start_names_the_reason(pod: PodSnapshot, reason: str) -> None:
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, LostBeforeStart)
    assert verdict.reason == reason


def test_describe_pod_lists_all_containers() -> None:
    pod = a_pod(
        Waiting("ErrImagePull", "not found"),
        init_containers=(ContainerSnapshot("setup", Terminated(0, "Completed")),),
    )
    assert describe_pod(pod) == (
        "Pod pod: phase=Pending, init/setup: done (exit 0), claude: waiting (ErrImagePull: not found)"
    )


NO_IMAGE = Waiting("ErrImagePull", "slow")
NODE_LOST = (Condition("DisruptionTarget", "True", "DeletionByPodGC"),)


@pytest.mark.parametrize(
    ("pod", "never"),
    [
        (a_pod(NO_IMAGE), True),
        (a_pod(node=""), True),
        (a_pod(Waiting("ContainerCreating")), False),
        # what the lost node last reported proves nothing
        (a_pod(NO_IMAGE, conditions=NODE_LOST), False),
        # without a node, nothing can have begun
        (a_pod(node="", conditions=NODE_LOST, phase="Failed"), True),
        (a_pod(Running()), False),
    ],
)
def test_only_the_final_state_of_a_deleted_pod_proves_that_it_never_began(
    pod: PodSnapshot,
    never: bool,  # noqa: FBT001
) -> None:
    last = Known(job=a_job(), pod=pod, pod_gone=True, pod_is_final=True)
    assert never_began(last) is never
    assert not never_began(Known(job=a_job(), pod=pod, pod_gone=True))
    assert not never_began(Known(job=a_job(), pod=pod))
    complete = a_job(conditions=finished("Complete"))  # a complete Job has had an agent that started
    assert not never_began(Known(job=complete, pod=pod, pod_gone=True, pod_is_final=True))


def test_final_phase_proves_that_a_pod_never_began_only_if_set_by_the_kubelet() -> None:
    assert never_began(Known(job=a_job(), pod=a_pod(phase="Failed")))
    assert not never_began(Known(job=a_job(), pod=a_pod(phase="Failed", conditions=NODE_LOST)))


def test_complete_job_proves_that_an_agent_began() -> None:
    complete = a_job(conditions=finished("Complete"))
    assert not never_began(Known(job=complete, pod=a_pod(phase="Failed")))
