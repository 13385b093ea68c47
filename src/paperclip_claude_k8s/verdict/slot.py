"""Is the slot free, ours already, or taken? SPEC 2.3."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import (
    RUN_LABEL,
    SESSION_LABEL,
    TAKEN_ANNOTATION,
    TASK_LABEL,
    WAKE_ANNOTATION,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.failures import Failure

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks for the slot, in label values; `only_task`: Jobs of other tasks do not count."""

    run: str | None
    task: str | None = None
    session: str | None = None
    retry_of: str | None = None
    """The run that this one repeats, as the host says."""
    wake: str | None = None
    """Digest of what this run was woken for."""
    only_task: bool = False
    adopts_orphans: bool = True
    names: Collection[str] = frozenset()
    """Names of the Jobs that the run's own attempts make: known also where its id has no label value."""


@dataclass(frozen=True, slots=True)
class Free:
    """Nobody works here. `unclaimed`: finished Jobs whose results answer another wake; mark them taken."""

    unclaimed: tuple[JobSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Adopt:
    """A Job that takes the place of a new one: living, or finished with a result nobody has taken."""

    job: JobSnapshot
    own: bool
    """Made by an earlier attempt of this very run."""


@dataclass(frozen=True, slots=True)
class PodsRemaining:
    """These Pods of the slot may still run an agent, though none of its Jobs stands for them any more."""

    pods: tuple[PodSnapshot, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    failure: Failure


SlotVerdict: TypeAlias = Free | Adopt | PodsRemaining | Blocked


def judge_slot(
    jobs: Sequence[JobSnapshot],
    who: Claimant,
    held: Collection[str] = frozenset(),
    detached: Collection[str] = frozenset(),
    pods: Sequence[PodSnapshot] = (),
) -> SlotVerdict:
    """What the slot's Jobs and Pods say about starting one more.

    `held`: uids of Jobs whose holder is alive, also of finished ones: it is about to take their results.
    `detached`: those held for another run. A finished one waits for the call that names its run, and is in
    nobody's way.
    """
    ours = [job for job in jobs if not who.only_task or _shares_slot(job.labels.get(TASK_LABEL), who.task)]
    ours = [job for job in ours if job.ref.uid not in detached or is_live(job) or job.deleting]
    live = sorted((job for job in ours if is_live(job)), key=_created, reverse=True)
    alive = [job for job in ours if not job.deleting and job.ref.uid in {*held, *detached}]
    if alive:
        return Blocked(failures.run_blocked(_names(alive)))
    if live:
        return _orphan(live, who)
    verdict = _finished([job for job in ours if job.finished is not None and not job.deleting], who)
    kept = {job.ref.uid for job in jobs if job.ref.uid in detached and not job.deleting}
    adopted = verdict.job.ref.uid if isinstance(verdict, Adopt) else None
    running = tuple(
        pod
        for pod in pods
        if not pod.is_over
        and pod.job_uid not in {adopted, *kept}
        and (not who.only_task or _shares_slot(pod.labels.get(TASK_LABEL), who.task))
    )
    return PodsRemaining(running) if running else verdict


def classify_orphan(job: JobSnapshot, who: Claimant) -> Failure | None:
    """Why a living Job without a living holder may not be adopted by this run; None: it may."""
    if is_own(job, who.run, who.names):
        return None
    if not who.adopts_orphans:
        return failures.run_blocked(
            job.ref.name, "of an earlier host process is still running for this agent"
        )
    task, session = job.labels.get(TASK_LABEL), job.labels.get(SESSION_LABEL)
    if not (task and who.task):
        return failures.orphan_task_unknown(job.ref.name)
    if task != who.task:
        return failures.run_blocked(job.ref.name, f"is still running for this agent, on task {task}")
    if session and who.session and session != who.session:
        return failures.orphan_session_mismatch(job.ref.name, session, who.session)
    return None


def known_equal(one: str | None, other: str | None) -> bool:
    """Whether both values are known and equal. What is missing or empty equals nothing, not even itself."""
    return bool(one) and one == other


def known_different(one: str | None, other: str | None) -> bool:
    """Whether both values are known and not equal."""
    return bool(one and other) and one != other


def is_own(job: JobSnapshot, run: str | None, names: Collection[str]) -> bool:
    """Whether an attempt of this run made the Job or took it over. `names`: those its own attempts give.

    A run whose id has no label value is known by the name alone, which holds a hash of the whole id.
    """
    return known_equal(job.labels.get(RUN_LABEL), run) or job.ref.name in names


def is_live(job: JobSnapshot) -> bool:
    """Whether an agent may still work there; conditions come late, an answered Job says so itself."""
    return job.finished is None and not job.deleting and TAKEN_ANNOTATION not in job.annotations


def other_live_jobs(job: JobSnapshot, jobs: Sequence[JobSnapshot], *, only_task: bool) -> list[JobSnapshot]:
    """Other living Jobs of the slot, whatever their age."""
    task = job.labels.get(TASK_LABEL)
    others = [other for other in jobs if other.ref.uid != job.ref.uid and is_live(other)]
    return [other for other in others if not only_task or _shares_slot(other.labels.get(TASK_LABEL), task)]


def _shares_slot(one: str | None, other: str | None) -> bool:
    """Whether two Jobs are in each other's way where the slot is a task: of the same task, or both of none.

    This only ever keeps Jobs apart. Nothing is adopted for want of a task: see `classify_orphan`.
    """
    return known_equal(one, other) or not (one or other)


def _orphan(live: Sequence[JobSnapshot], who: Claimant) -> SlotVerdict:
    """Our own first, then the newest; beside it no other run's may live, or two Pods would share a slot."""
    own = [job for job in live if is_own(job, who.run, who.names)]
    chosen = own[0] if own else live[0]
    failure = classify_orphan(chosen, who)
    if failure is not None:
        return Blocked(failure)
    others = [job for job in live if job is not chosen and job not in own]
    return Blocked(failures.run_blocked(_names(others))) if others else Adopt(chosen, own=bool(own))


def _finished(jobs: Sequence[JobSnapshot], who: Claimant) -> SlotVerdict:
    """A result that nobody took answers this run only if it was made for the same task and wake."""
    untaken = [job for job in jobs if TAKEN_ANNOTATION not in job.annotations]
    for job in sorted(untaken, key=_created, reverse=True):
        own = is_own(job, who.run, who.names)
        if (own and not known_different(job.labels.get(TASK_LABEL), who.task)) or _answers(job, who):
            return Adopt(job, own=own)
    return Free(tuple(untaken))


def _answers(job: JobSnapshot, who: Claimant) -> bool:
    """Whether another run's Job was made for our task, and for our wake or as the run that ours repeats."""
    repeated = known_equal(job.labels.get(RUN_LABEL), who.retry_of)
    woken = known_equal(job.annotations.get(WAKE_ANNOTATION), who.wake)
    return known_equal(job.labels.get(TASK_LABEL), who.task) and (repeated or woken)


def _created(job: JobSnapshot) -> datetime:
    return job.created or _LONG_AGO


def _names(jobs: Sequence[JobSnapshot]) -> str:
    return ", ".join(job.ref.name for job in jobs)
