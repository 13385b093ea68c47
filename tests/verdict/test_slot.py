"""Whether a run may create a Job for its slot, has to adopt a Job or to wait, or is blocked.

An orphan is a Job whose host process has ended. A collected Job is one whose result a run has received. A
detached Job belongs to its run, and not to a process.
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.objects import a_job, a_pod, finished

from paperclip_claude_k8s.cluster.labels import (
    RUN_LABEL,
    SESSION_LABEL,
    TAKEN_ANNOTATION,
    TASK_LABEL,
    WAKE_ANNOTATION,
)
from paperclip_claude_k8s.cluster.model import (
    ContainerSnapshot,
    ContainerState,
    JobSnapshot,
    PodSnapshot,
    Running,
    Terminated,
)
from paperclip_claude_k8s.verdict.slot import (
    Adopt,
    Blocked,
    Claimant,
    Free,
    OrphanClass,
    PodsRemaining,
    classify_orphan,
    judge_slot,
    other_live_jobs,
)

OUR_RUN = Claimant(run="run-1", task="task-1")


def test_slot_without_jobs_is_free() -> None:
    assert judge_slot([], OUR_RUN) == Free()


def test_finished_job_of_another_run_does_not_block() -> None:
    job = a_job(run="other", conditions=finished())
    assert judge_slot([job], OUR_RUN) == Free(unclaimed=(job,))


def test_held_job_of_another_run_blocks_and_is_named() -> None:
    job = a_job("their-job", run="other")
    verdict = judge_slot([job], OUR_RUN, held={job.ref.uid})
    assert isinstance(verdict, Blocked)
    assert "their-job" in verdict.failure.message


def test_newest_own_job_is_adopted() -> None:
    older = a_job("older")
    newer = a_job("newer", created=datetime(2026, 2, 1, tzinfo=UTC))
    assert judge_slot([older, newer], OUR_RUN) == Adopt(newer, own=True)


def test_job_held_by_this_process_is_not_adopted() -> None:
    job = a_job()
    assert isinstance(judge_slot([job], OUR_RUN, held={job.ref.uid}), Blocked)


def test_running_pod_of_a_deleted_job_is_waited_for() -> None:
    pod = a_pod(Running())
    for jobs in ([a_job(run="other", deleting=True)], []):
        assert judge_slot(jobs, OUR_RUN, pods=[pod]) == PodsRemaining((pod,))
        assert judge_slot(jobs, OUR_RUN, pods=[replace(pod, phase="Failed")]) == Free()


def test_running_pod_of_a_collected_job_is_waited_for() -> None:
    pod = a_pod(Running())
    taken = a_job(run="other", annotations={TAKEN_ANNOTATION: "now"}, conditions=finished("Failed"))
    assert judge_slot([taken], OUR_RUN, pods=[pod]) == PodsRemaining((pod,))


def pod_with_a_running_mesh_proxy(agent: ContainerState) -> PodSnapshot:
    """A service mesh has added a container, which is listed first and does not end with the agent."""
    containers = (ContainerSnapshot("istio-proxy", Running()), ContainerSnapshot("claude", agent))
    return a_pod(phase="Running", containers=containers)


ONLY_PROXY_RUNS = pod_with_a_running_mesh_proxy(Terminated(0, "Completed"))
PROXY_AND_AGENT_RUN = pod_with_a_running_mesh_proxy(Running())


def test_pod_in_which_only_a_mesh_proxy_runs_is_not_waited_for() -> None:
    taken = a_job(run="other", annotations={TAKEN_ANNOTATION: "now"})
    for jobs in ([taken], [a_job(run="other", deleting=True)], []):
        assert judge_slot(jobs, OUR_RUN, pods=[ONLY_PROXY_RUNS]) == Free()
        assert judge_slot(jobs, OUR_RUN, pods=[PROXY_AND_AGENT_RUN]) == PodsRemaining((PROXY_AND_AGENT_RUN,))


def test_job_in_which_only_a_mesh_proxy_runs_counts_as_finished() -> None:
    theirs = a_job(run="other", task="other")
    assert judge_slot([theirs], OUR_RUN, pods=[ONLY_PROXY_RUNS]) == Free((theirs,), endless=(theirs,))
    assert isinstance(judge_slot([theirs], OUR_RUN, pods=[PROXY_AND_AGENT_RUN]), Blocked)
    assert isinstance(judge_slot([theirs], OUR_RUN, pods=[ONLY_PROXY_RUNS, PROXY_AND_AGENT_RUN]), Blocked)
    own = a_job()
    assert judge_slot([own], OUR_RUN, pods=[ONLY_PROXY_RUNS]) == Adopt(own, own=True)
    assert judge_slot([theirs], OUR_RUN, detached={theirs.ref.uid}, pods=[ONLY_PROXY_RUNS]) == Free()


def test_job_whose_pod_pushes_the_agents_work_is_not_deleted() -> None:
    """Only the Jobs in `endless` are deleted."""
    theirs = a_job(run="other", task="other")
    agent, push = (
        ContainerSnapshot("claude", Terminated(0, "Completed")),
        ContainerSnapshot("git-push", Running()),
    )
    pod = a_pod(phase="Running", containers=(agent, push))
    assert judge_slot([theirs], OUR_RUN, pods=[pod]) == Free((theirs,))
    proxy = ContainerSnapshot("istio-proxy", Running())
    with_proxy = replace(pod, containers=(agent, push, proxy))
    assert judge_slot([theirs], OUR_RUN, pods=[with_proxy]) == Free()
    pushed = replace(pod, containers=(agent, replace(push, state=Terminated(0)), proxy))
    assert judge_slot([theirs], OUR_RUN, pods=[pushed]) == Free((theirs,), endless=(theirs,))


def test_job_whose_pod_succeeded_before_its_condition_is_set_is_not_deleted() -> None:
    theirs = a_job(run="other", task="other")
    over = a_pod(Terminated(0, "Completed"), phase="Succeeded")
    assert judge_slot([theirs], OUR_RUN, pods=[over]) == Free((theirs,))


def test_pod_of_an_adopted_finished_job_is_not_waited_for() -> None:
    ours = a_job(run="run-1", conditions=finished())
    assert judge_slot([ours], OUR_RUN, pods=[a_pod(Running())]) == Adopt(ours, own=True)


def test_pod_of_another_task_does_not_block_in_task_scope() -> None:
    pod = replace(a_pod(Running()), labels={TASK_LABEL: "task-2"})
    assert judge_slot([], Claimant("run-1", "task-1", only_task=True), pods=[pod]) == Free()
    assert judge_slot([], Claimant("run-1", "task-2", only_task=True), pods=[pod]) == PodsRemaining((pod,))


def test_job_of_another_task_blocks_only_in_agent_scope() -> None:
    other = a_job(run="other", task="task-2")
    assert judge_slot([other], Claimant("run-1", "task-1", only_task=True), held={other.ref.uid}) == Free()
    assert isinstance(judge_slot([other], OUR_RUN), Blocked)


SESSIONS = ("s1", "s2", None)


@pytest.mark.parametrize("theirs", SESSIONS)
@pytest.mark.parametrize("ours", SESSIONS)
def test_orphan_of_same_task_is_adopted_unless_sessions_differ(theirs: str | None, ours: str | None) -> None:
    labels = {RUN_LABEL: "other", TASK_LABEL: "task-1"} | ({SESSION_LABEL: theirs} if theirs else {})
    job = a_job(labels=labels)
    verdict = judge_slot([job], Claimant("run-1", "task-1", session=ours))
    if theirs and ours and theirs != ours:
        assert isinstance(verdict, Blocked)
        assert verdict.failure.code == "k8s_orphan_session_mismatch"
        assert theirs in verdict.failure.message
        assert ours in verdict.failure.message
    else:
        assert verdict == Adopt(job, own=False)


@pytest.mark.parametrize(
    ("theirs", "ours", "code"),
    [
        (None, "task-1", "k8s_orphan_task_unknown"),
        ("task-1", None, "k8s_orphan_task_unknown"),
        (None, None, "k8s_orphan_task_unknown"),
        ("task-2", "task-1", "k8s_concurrent_run_blocked"),
    ],
)
def test_orphan_of_another_or_unknown_task_is_not_adopted(
    theirs: str | None, ours: str | None, code: str
) -> None:
    job = a_job(labels={RUN_LABEL: "other"} | ({TASK_LABEL: theirs} if theirs else {}))
    verdict = judge_slot([job], Claimant("run-1", ours))
    assert isinstance(verdict, Blocked)
    assert verdict.failure.code == code


def test_orphan_is_not_adopted_if_adoption_is_switched_off() -> None:
    verdict = judge_slot([a_job(run="other")], Claimant("run-1", "task-1", adopts_orphans=False))
    assert isinstance(verdict, Blocked)
    assert verdict.failure.code == "k8s_concurrent_run_blocked"


def test_two_live_orphans_block() -> None:
    jobs = [a_job("one", run="other"), a_job("two", run="another")]
    assert isinstance(judge_slot(jobs, OUR_RUN), Blocked)


def test_own_job_beside_a_newer_orphan_blocks() -> None:
    ours, newer = a_job("ours"), a_job("newer", run="other", created=datetime(2026, 2, 1, tzinfo=UTC))
    verdict = judge_slot([ours, newer], OUR_RUN)
    assert isinstance(verdict, Blocked)
    assert "newer" in verdict.failure.message


SAME_WAKE = {"paperclip.io/wake-digest": "d1"}
"""Annotation of a Job whose run was started by the same event as a run with `wake="d1"`."""


@pytest.mark.parametrize(
    ("run", "annotations", "adopted"),
    [
        ("run-1", {}, True),
        ("retried", {}, True),
        ("other", SAME_WAKE, True),
        ("other", {"paperclip.io/wake-digest": "d2"}, False),
        ("other", {}, False),
        ("run-1", {"paperclip.io/result-taken": "yes"}, False),
        ("other", SAME_WAKE | {"paperclip.io/result-taken": "yes"}, False),
    ],
)
def test_uncollected_result_is_adopted_by_the_same_run_its_retry_or_the_same_wake(
    run: str,
    annotations: dict[str, str],
    adopted: bool,  # noqa: FBT001
) -> None:
    job = a_job(run=run, annotations=annotations, conditions=finished())
    verdict = judge_slot([job], Claimant("run-1", "task-1", retry_of="retried", wake="d1"))
    if adopted:
        assert verdict == Adopt(job, own=run == "run-1")
    else:
        taken = "paperclip.io/result-taken" in annotations
        assert verdict == Free(() if taken else (job,))


def test_live_job_is_adopted_rather_than_a_finished_one() -> None:
    done = a_job("done", annotations=SAME_WAKE, conditions=finished())
    assert judge_slot([done, a_job("live")], Claimant("run-1", "task-1", wake="d1")) == Adopt(
        a_job("live"), own=True
    )


@pytest.mark.parametrize("task", ["task-1", "task-2"])
def test_collected_job_with_late_condition_is_not_an_orphan(task: str) -> None:
    job = a_job(run="other", task=task, annotations={"paperclip.io/result-taken": "yes"})
    assert judge_slot([job], OUR_RUN) == Free()


def test_live_detached_job_blocks() -> None:
    """Only a call for the Job's own run adopts the Job, even if the command that started it is gone."""
    job = a_job("theirs", run="other", task="task-1")
    verdict = judge_slot([job], OUR_RUN, detached={job.ref.uid})
    assert isinstance(verdict, Blocked)
    assert "theirs" in verdict.failure.message


def test_finished_detached_job_does_not_block() -> None:
    job = a_job(run="other", conditions=finished())
    again = Claimant(run="run-1", task="task-1", retry_of="other")
    assert judge_slot([job], OUR_RUN, detached={job.ref.uid}) == Free()
    assert judge_slot([job], again, detached={job.ref.uid}) == Free()


def test_deleting_detached_job_is_waited_for() -> None:
    job, pod = a_job(run="other", deleting=True), a_pod(Running())
    assert judge_slot([job], OUR_RUN, detached={job.ref.uid}, pods=[pod]) == PodsRemaining((pod,))


UNLABELLED_RUN = Claimant(run=None, task="task-1", names=frozenset({"ours"}))
"""A run whose id has no character that is allowed in a label. `names`: the names of its own Jobs."""


@pytest.mark.parametrize("labels", [{}, {RUN_LABEL: ""}, {TASK_LABEL: "task-2"}])
def test_unlabelled_run_does_not_own_an_unlabelled_job(
    labels: dict[str, str],
) -> None:
    verdict = judge_slot([a_job("theirs", labels=labels)], UNLABELLED_RUN)
    assert isinstance(verdict, Blocked)
    assert "theirs" in verdict.failure.message


@pytest.mark.parametrize("labels", [{}, {TASK_LABEL: "task-1"}])
@pytest.mark.parametrize("ended", [False, True])
def test_unlabelled_run_owns_a_job_by_name(
    labels: dict[str, str],
    ended: bool,  # noqa: FBT001
) -> None:
    job = a_job("ours", labels=labels, conditions=finished() if ended else ())
    assert judge_slot([job], UNLABELLED_RUN) == Adopt(job, own=True)


def test_job_without_run_label_is_owned_by_name() -> None:
    job = a_job("ours", labels={})
    assert judge_slot([job], Claimant("run-1", "task-1", names=frozenset({"ours"}))) == Adopt(job, own=True)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("task-2", "task-1"), ("task-2", None), (None, "task-1"), (None, None)]
)
@pytest.mark.parametrize("claim", [Claimant("run-1", wake="d1"), Claimant("run-1", retry_of="other")])
def test_finished_job_of_another_task_is_not_adopted(
    theirs: str | None, ours: str | None, claim: Claimant
) -> None:
    labels = {RUN_LABEL: "other"} | ({TASK_LABEL: theirs} if theirs else {})
    job = a_job(labels=labels, annotations=SAME_WAKE, conditions=finished())
    assert judge_slot([job], replace(claim, task=ours)) == Free(unclaimed=(job,))


def test_finished_own_job_of_another_task_is_not_adopted() -> None:
    job = a_job(task="task-2", annotations=SAME_WAKE, conditions=finished())
    assert judge_slot([job], Claimant("run-1", "task-1", wake="d1")) == Free(unclaimed=(job,))


@pytest.mark.parametrize("task", ["task-1", None])
def test_finished_own_job_without_task_is_adopted(task: str | None) -> None:
    job = a_job(labels={RUN_LABEL: "run-1"}, conditions=finished())
    assert judge_slot([job], Claimant("run-1", task)) == Adopt(job, own=True)


def test_runs_without_task_exclude_each_other_in_task_scope() -> None:
    """Jobs without a task exclude each other, but no run without a task adopts the Job of another run."""
    one, two = a_job("one", labels={RUN_LABEL: "other"}), a_job("two", labels={})
    verdict = judge_slot([one], Claimant("run-1", only_task=True))
    assert isinstance(verdict, Blocked)
    assert verdict.failure.code == "k8s_orphan_task_unknown"
    assert other_live_jobs(one, [one, two], only_task=True) == [two]


OPTIONAL_ID = st.sampled_from([None, "", "a", "b"])


@st.composite
def jobs_with_missing_ids(draw: st.DrawFn) -> JobSnapshot:
    keys = (RUN_LABEL, TASK_LABEL, SESSION_LABEL, WAKE_ANNOTATION)
    values = {key: value for key in keys if (value := draw(OPTIONAL_ID)) is not None}
    conditions = finished() if draw(st.booleans()) else ()
    return a_job(
        draw(st.sampled_from(["job", "named"])), labels=values, annotations=values, conditions=conditions
    )


CLAIMANTS = st.builds(
    Claimant,
    run=OPTIONAL_ID,
    task=OPTIONAL_ID,
    session=OPTIONAL_ID,
    retry_of=OPTIONAL_ID,
    wake=OPTIONAL_ID,
    only_task=st.booleans(),
    names=st.just(frozenset({"named"})),
)


@given(jobs_with_missing_ids(), CLAIMANTS)
def test_missing_ids_never_make_a_job_adoptable(job: JobSnapshot, claimant: Claimant) -> None:
    """A Job is adopted only because of an id that Job and run share, or because of its name."""

    def shared(key: str, value: str | None) -> bool:
        return value not in {None, ""} and job.labels.get(key) == value

    own = job.ref.name == "named" or shared(RUN_LABEL, claimant.run)
    same_wake_or_retry = shared(WAKE_ANNOTATION, claimant.wake) or shared(RUN_LABEL, claimant.retry_of)
    verdict = judge_slot([job], claimant)
    if isinstance(verdict, Adopt):
        assert verdict.own == own
        assert own or (shared(TASK_LABEL, claimant.task) and (same_wake_or_retry or not job.conditions))
    assert (
        own or shared(TASK_LABEL, claimant.task) or classify_orphan(job, claimant) is not OrphanClass.REATTACH
    )
