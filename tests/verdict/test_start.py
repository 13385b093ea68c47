import pytest
from tests.support.objects import a_job, a_pod, finished

from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    JobSnapshot,
    Known,
    PodSnapshot,
    Running,
    Terminated,
    Waiting,
)
from paperclip_claude_k8s.verdict.start import (
    Budget,
    GiveUp,
    Listen,
    Preempted,
    StartVerdict,
    Unseen,
    Wait,
    describe_pod,
    judge_start,
)


def judged(job: JobSnapshot | None, pod: PodSnapshot | None, *, pod_gone: bool = False) -> StartVerdict:
    return judge_start(Known(job=job, pod=pod, pod_gone=pod_gone))


@pytest.mark.parametrize("now", [Running(), Terminated(0), Terminated(1, "Error")])
def test_a_container_that_runs_or_has_run_can_be_listened_to(now: Running | Terminated) -> None:
    pod = a_pod(now, phase="Failed" if isinstance(now, Terminated) else "Running")
    assert judged(a_job(), pod) == Listen(pod)


def test_before_the_pod_exists_the_schedule_budget_runs() -> None:
    verdict = judged(a_job(), None)
    assert isinstance(verdict, Wait)
    assert verdict.budget is Budget.SCHEDULE


def test_a_suspended_job_costs_no_budget() -> None:
    verdict = judged(a_job(suspended=True), None)
    assert isinstance(verdict, Wait)
    assert verdict.budget is Budget.NONE


@pytest.mark.parametrize("how", ["Failed", "Complete"])
def test_a_job_that_finished_without_a_known_pod_makes_its_pod_looked_for(how: str) -> None:
    job = a_job(conditions=finished(how, "Because"))
    verdict = judged(job, None)
    assert isinstance(verdict, Unseen)
    assert (verdict.job, verdict.condition.type) == (job.ref.name, how)


def test_unschedulable_is_waited_for_and_said_in_the_schedulers_words() -> None:
    no_room = Condition(
        "PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu."
    )
    verdict = judged(a_job(), a_pod(node="", conditions=(no_room,)))
    assert isinstance(verdict, Wait)
    assert verdict.budget is Budget.SCHEDULE
    assert "Insufficient cpu" in verdict.why


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_a_failed_image_pull_may_heal_inside_its_own_budget(reason: str) -> None:
    verdict = judged(a_job(), a_pod(Waiting(reason, "manifest unknown")))
    assert isinstance(verdict, Wait)
    assert verdict.budget is Budget.PULL
    assert "manifest unknown" in verdict.why


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_ever_be_there_fails_at_once(reason: str) -> None:
    verdict = judged(a_job(), a_pod(Waiting(reason, "no such thing")))
    assert isinstance(verdict, GiveUp)
    assert "no such thing" in verdict.why


def test_a_missing_secret_runs_the_start_budget() -> None:
    verdict = judged(a_job(), a_pod(Waiting("CreateContainerConfigError", 'secret "x" not found')))
    assert isinstance(verdict, Wait)
    assert verdict.budget is Budget.START


def test_volumes_and_a_slow_pull_run_the_pull_budget() -> None:
    verdict = judged(a_job(), a_pod(Waiting("ContainerCreating")))
    assert isinstance(verdict, Wait)
    assert verdict.budget is Budget.PULL


@pytest.mark.parametrize(
    "init",
    [Terminated(3, "Error"), Waiting("CrashLoopBackOff", "back-off")],
)
def test_a_broken_init_container_fails_at_once_by_name(init: Terminated | Waiting) -> None:
    pod = a_pod(Waiting("PodInitializing"), init=(ContainerSnapshot("setup", init),))
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, GiveUp)
    assert '"setup"' in verdict.why


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
def test_a_pod_taken_away_before_its_start_is_named_so(pod: PodSnapshot, reason: str) -> None:
    verdict = judged(a_job(), pod)
    assert isinstance(verdict, Preempted)
    assert verdict.reason == reason


def test_a_pod_is_described_with_all_that_holds_it_up() -> None:
    pod = a_pod(
        Waiting("ErrImagePull", "not found"), init=(ContainerSnapshot("setup", Terminated(0, "Completed")),)
    )
    assert describe_pod(pod) == (
        "Pod pod: phase=Pending, init/setup: done (exit 0), claude: waiting (ErrImagePull: not found)"
    )
