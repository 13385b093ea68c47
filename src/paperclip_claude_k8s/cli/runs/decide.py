"""What a call does next about a known run: a judgement on the record and on one look at the cluster."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import DETACHED_TTL, Answer

_LATEST_CREATE = timedelta(seconds=DETACHED_TTL)
"""Later than this, a run that seems never submitted may have left a Job that its TTL has removed since."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The run's Jobs at one moment: is there one, did all of them end, does an agent run."""

    present: bool
    finished: bool = False
    running: bool = False

    @property
    def word(self) -> str:
        if not self.present:
            return "PENDING"
        return "ENDED" if self.finished else "RUNNING" if self.running else "PENDING"


@dataclass(frozen=True, slots=True)
class Tell:
    """The run has ended: its answer is in the record."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Lose:
    """The run's Job was there and is gone, and nobody took its result."""


@dataclass(frozen=True, slots=True)
class Submit:
    """See to it that its Job exists, and leave it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Create or adopt its Job, and stay with it to the end."""


@dataclass(frozen=True, slots=True)
class Leave:
    """It runs, and this call only wanted to know."""


Step: TypeAlias = Tell | Lose | Submit | Wait | Leave


def next_step(record: Record, seen: Sight, now: datetime, *, once: bool) -> Step:
    """`once`: one look, no waiting."""
    if record.outcome is not None:
        return Tell(record.outcome)
    if not seen.present:
        if record.phase == "polling" or not may_create(record, now):
            return Lose()
        return Submit() if once else Wait()
    return Leave() if once and not seen.finished else Wait()


def may_create(record: Record, now: datetime) -> bool:
    """Whether no Job of this run can have existed; one that did must not be made again."""
    created = datetime.fromisoformat(record.created)
    return record.phase in {"reserved", "submitting"} and now - created < _LATEST_CREATE
