"""May this run create a Job for its slot, or adopt an existing one, or must it wait?

A slot is the unit of mutual exclusion: one agent, or one agent and task. All its Jobs and Pods are listed,
and `judge_slot` decides, in this order:

1. A live host process holds a Job of the slot, or a live Job is kept for a later call: blocked.
2. A live Job has no live holder (an orphan): adopt it if task and session fit, else blocked.
3. The agent in a Pod of a deleted or finished Job has not ended: wait for it, unless rule 4 adopts that Job
   or it is kept for a later call of another run.
4. A finished Job has a result for this run that was never collected: adopt the Job.
5. Otherwise the slot is free.

A Job whose agent has ended counts as finished, even if other containers keep its Pod running: a service mesh
may add containers that never end, and then the Job never gets a condition.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import (
    AGENT_CONTAINER,
    RUN_LABEL,
    SESSION_LABEL,
    TAKEN_ANNOTATION,
    TASK_LABEL,
    WAKE_ANNOTATION,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot, Running
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.relay.git import PUSH_CONTAINER
from paperclip_claude_k8s.verdict.workspace_end import pushes


@dataclass(frozen=True, slots=True)
class Claimant:
    """The run that needs the slot. Ids are label values. `only_task`: the slot is one task of the agent."""

    run: str | None
    task: str | None = None
    session: str | None = None
    retry_of: str | None = None
    """The run that this one repeats, according to the host."""
    wake: str | None = None
    """Digest of the event because of which the host started this run."""
    only_task: bool = False
    adopts_orphans: bool = True
    names: Collection[str] = frozenset()
    """Job names of this run's attempts. They identify its Jobs even if the run id has no label value."""


@dataclass(frozen=True, slots=True)
class Free:
    """No agent works in the slot.

    `unclaimed`: finished Jobs whose results were never collected and are not for this run.
    `endless`: those of them whose Pods go on although the agent has ended, because other containers run, none
    of which pushes the agent's work.
    """

    unclaimed: tuple[JobSnapshot, ...] = ()
    endless: tuple[JobSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Adopt:
    """Use this Job instead of a new one. It is live, or finished with a result that was never collected."""

    job: JobSnapshot
    own: bool
    """Whether an earlier attempt of this run created or adopted it."""


@dataclass(frozen=True, slots=True)
class PodsRemaining:
    """These Pods may still run an agent, although their Jobs are deleted or finished."""

    pods: tuple[PodSnapshot, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Another run occupies the slot, or an orphan in it cannot be adopted."""

    failure: Failure


SlotVerdict: TypeAlias = Free | Adopt | PodsRemaining | Blocked


def judge_slot(
    jobs: Sequence[JobSnapshot],
    claimant: Claimant,
    held: Collection[str] = frozenset(),
    detached: Collection[str] = frozenset(),
    pods: Sequence[PodSnapshot] = (),
) -> SlotVerdict:
    """Decide from the slot's Jobs and Pods what the run may do.

    `held`: uids of Jobs whose holder is alive. A finished Job is held until its holder has the result.
    `detached`: uids of Jobs that are kept for a later call of another run. A finished one does not block.
    """
    agent_ended = _jobs_whose_agent_ended(pods)

    def has_ended(job: JobSnapshot) -> bool:
        return job.finished is not None or job.ref.uid in agent_ended

    slot = [job for job in jobs if in_slot(job.labels, claimant)]
    working = (job for job in slot if is_live(job) and not has_ended(job))
    live = sorted(working, key=lambda job: job.created_or_earliest, reverse=True)
    slot = [job for job in slot if job.ref.uid not in detached or job in live or job.deleting]
    kept_uids = {*held, *detached}  # built once: there may be thousands of detached Jobs
    claimed = [job for job in slot if not job.deleting and job.ref.uid in kept_uids]
    if claimed:
        return Blocked(failures.run_blocked(_names(claimed)))
    if live:
        return _judge_orphans(live, claimant)
    ended = [job for job in slot if has_ended(job) and not job.deleting]
    verdict = _judge_finished(ended, claimant, [pod for pod in pods if not pod.is_over])
    # The Pods of a Job that is adopted, or kept for another run, may still run.
    may_run = {job.ref.uid for job in jobs if job.ref.uid in detached and not job.deleting}
    if isinstance(verdict, Adopt):
        may_run.add(verdict.job.ref.uid)
    running = tuple(
        pod
        for pod in pods
        if pod.agent_may_work and pod.job_uid not in may_run and in_slot(pod.labels, claimant)
    )
    return PodsRemaining(running) if running else verdict


def in_slot(labels: Mapping[str, str], claimant: Claimant) -> bool:
    """Whether a Job or Pod with these labels excludes the claimant."""
    return not claimant.only_task or _shares_slot(labels.get(TASK_LABEL), claimant.task)


class OrphanClass(StrEnum):
    """Whether a run may adopt an orphan: `REATTACH`, or the reason why not."""

    REATTACH = "reattach"
    REATTACH_DISABLED = "block_reattach_disabled"
    TASK_UNKNOWN = "block_task_unknown"
    TASK_MISMATCH = "block_task_mismatch"
    SESSION_MISMATCH = "block_session_mismatch"


def classify_orphan(job: JobSnapshot, claimant: Claimant) -> OrphanClass:
    """Whether this run may adopt a live Job without a live holder."""
    if is_own(job, claimant.run, claimant.names):
        return OrphanClass.REATTACH
    if not claimant.adopts_orphans:
        return OrphanClass.REATTACH_DISABLED
    task, session = job.labels.get(TASK_LABEL), job.labels.get(SESSION_LABEL)
    if not (task and claimant.task):
        return OrphanClass.TASK_UNKNOWN
    if task != claimant.task:
        return OrphanClass.TASK_MISMATCH
    if known_different(session, claimant.session):
        return OrphanClass.SESSION_MISMATCH
    return OrphanClass.REATTACH


def _orphan_failure(job: JobSnapshot, claimant: Claimant) -> Failure | None:
    """Why this run may not adopt the Job; None if it may."""
    name = job.ref.name
    match classify_orphan(job, claimant):
        case OrphanClass.REATTACH_DISABLED:
            return failures.run_blocked(name, "of an earlier host process is still running for this agent")
        case OrphanClass.TASK_UNKNOWN:
            return failures.orphan_task_unknown(name)
        case OrphanClass.TASK_MISMATCH:
            task = job.labels.get(TASK_LABEL)
            return failures.run_blocked(name, f"is still running for this agent, on task {task}")
        case OrphanClass.SESSION_MISMATCH:
            session = job.labels.get(SESSION_LABEL) or ""
            return failures.orphan_session_mismatch(name, session, claimant.session or "")
        case _:
            return None


def known_equal(one: str | None, other: str | None) -> bool:
    """Whether both values are present and equal. A missing or empty value equals nothing."""
    return bool(one) and one == other


def known_different(one: str | None, other: str | None) -> bool:
    """Whether both values are present and not equal."""
    return bool(one and other) and one != other


def is_own(job: JobSnapshot, run: str | None, names: Collection[str]) -> bool:
    """Whether an attempt of this run created or adopted the Job. `names`: Job names of its attempts.

    If the run id has no label value, only the name identifies the Job: it contains a hash of the whole id.
    """
    return known_equal(job.labels.get(RUN_LABEL), run) or job.ref.name in names


def is_live(job: JobSnapshot) -> bool:
    """Whether an agent may still work in the Job. Its result may be collected before the Job finishes."""
    return job.finished is None and not job.deleting and TAKEN_ANNOTATION not in job.annotations


def other_live_jobs(job: JobSnapshot, jobs: Sequence[JobSnapshot], *, only_task: bool) -> list[JobSnapshot]:
    """Other live Jobs of the slot, older or newer."""
    task = job.labels.get(TASK_LABEL)
    others = [other for other in jobs if other.ref.uid != job.ref.uid and is_live(other)]
    return [other for other in others if not only_task or _shares_slot(other.labels.get(TASK_LABEL), task)]


def _shares_slot(one: str | None, other: str | None) -> bool:
    """Whether Jobs with these tasks exclude each other if the slot is a task: the tasks are equal or missing.

    Only mutual exclusion uses this. A Job without a task is never adopted: see `classify_orphan`.
    """
    return known_equal(one, other) or not (one or other)


def _judge_orphans(live: Sequence[JobSnapshot], claimant: Claimant) -> SlotVerdict:
    """Adopt the run's own Job, else the newest. Blocked if a Job of another run is live beside it."""
    own = [job for job in live if is_own(job, claimant.run, claimant.names)]
    chosen = own[0] if own else live[0]
    failure = _orphan_failure(chosen, claimant)
    if failure is not None:
        return Blocked(failure)
    others = [job for job in live if job is not chosen and job not in own]
    return Blocked(failures.run_blocked(_names(others))) if others else Adopt(chosen, own=bool(own))


def _jobs_whose_agent_ended(pods: Sequence[PodSnapshot]) -> set[str]:
    """Uids of Jobs that have Pods in which the agent ended, and none in which it may still work."""
    working = {pod.job_uid for pod in pods if pod.agent_may_work}
    return {pod.job_uid for pod in pods if pod.job_uid and not pod.agent_may_work} - working


def _judge_finished(
    jobs: Sequence[JobSnapshot], claimant: Claimant, running: Sequence[PodSnapshot]
) -> Adopt | Free:
    """Adopt the newest Job with an uncollected result for this run: its own Job, or see `_did_same_work`.

    `running`: the Pods that are not over. A Job whose Pod pushes the agent's work is never deleted. The push
    ends by itself; if other containers go on after it, the Job is left to a later run.
    """
    uncollected = [job for job in jobs if TAKEN_ANNOTATION not in job.annotations]
    for job in sorted(uncollected, key=lambda job: job.created_or_earliest, reverse=True):
        own = is_own(job, claimant.run, claimant.names)
        if (own and not known_different(job.labels.get(TASK_LABEL), claimant.task)) or _did_same_work(
            job, claimant
        ):
            return Adopt(job, own=own)
    pushing = {pod.job_uid for pod in running if pushes(pod)}
    kept_for_later = {pod.job_uid for pod in running if pushes(pod) and _others_run(pod)}
    not_pushing = {pod.job_uid for pod in running} - pushing
    endless = tuple(job for job in uncollected if job.finished is None and job.ref.uid in not_pushing)
    return Free(tuple(job for job in uncollected if job.ref.uid not in kept_for_later), endless)


def _others_run(pod: PodSnapshot) -> bool:
    """Whether another container runs that does not end by itself when the agent's and the pushing one end."""
    return any(
        isinstance(container.state, Running) and not container.sidecar
        for container in pod.containers
        if container.name not in {AGENT_CONTAINER, PUSH_CONTAINER}
    )


def _did_same_work(job: JobSnapshot, claimant: Claimant) -> bool:
    """Whether another run's Job has our task, and has our wake or belongs to the run that ours repeats."""
    repeated = known_equal(job.labels.get(RUN_LABEL), claimant.retry_of)
    woken = known_equal(job.annotations.get(WAKE_ANNOTATION), claimant.wake)
    return known_equal(job.labels.get(TASK_LABEL), claimant.task) and (repeated or woken)


def _names(jobs: Sequence[JobSnapshot]) -> str:
    return ", ".join(job.ref.name for job in jobs)
