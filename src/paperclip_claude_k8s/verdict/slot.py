"""Is the slot free, ours already, or taken? SPEC 2.3."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import RUN_LABEL, TASK_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.failures import Failure

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks for the slot: label values, and whether only the same task counts."""

    run: str | None
    task: str | None = None
    only_task: bool = False


@dataclass(frozen=True, slots=True)
class Free:
    """Nobody works here."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """A living Job that is our own earlier attempt."""

    job: JobSnapshot


@dataclass(frozen=True, slots=True)
class Leaving:
    """These Jobs are being deleted; their Pods may still write to the shared volume."""

    jobs: tuple[JobSnapshot, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    failure: Failure


SlotVerdict: TypeAlias = Free | Adopt | Leaving | Taken


def judge_slot(
    jobs: Sequence[JobSnapshot], who: Claimant, held_here: Collection[str] = frozenset()
) -> SlotVerdict:
    """What the agent's Jobs say about starting one more. `held_here`: uids of Jobs this process runs."""
    ours = [job for job in jobs if not who.only_task or job.labels.get(TASK_LABEL) == who.task]
    leaving = tuple(job for job in ours if job.deleting)
    live = sorted((job for job in ours if is_live(job)), key=_created, reverse=True)
    blocking = [job for job in live if job.labels.get(RUN_LABEL) != who.run or job.ref.uid in held_here]
    if blocking:
        return Taken(failures.run_blocked(", ".join(job.ref.name for job in blocking)))
    if live:
        return Adopt(live[0])
    return Leaving(leaving) if leaving else Free()


def is_live(job: JobSnapshot) -> bool:
    return job.finished is None and not job.deleting


def _created(job: JobSnapshot) -> datetime:
    return job.created or _LONG_AGO
