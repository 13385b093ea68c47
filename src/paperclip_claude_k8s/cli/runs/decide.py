"""What a call does next for a run, given the run's record and its Jobs in the cluster."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from paperclip_claude_k8s.cli.runs.record import Record
from paperclip_claude_k8s.cli.runs.replies import DETACHED_TTL, Reply

_CREATE_MAX_AGE = timedelta(seconds=DETACHED_TTL)
"""A run older than this may have had a Job that its TTL has removed, even if the record does not name one."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The run's Jobs at one moment: whether there are any, whether all have ended, whether an agent runs."""

    present: bool
    finished: bool = False
    running: bool = False

    @property
    def word(self) -> str:
        """The status in progress lines."""
        if not self.present:
            return "PENDING"
        return "ENDED" if self.finished else "RUNNING" if self.running else "PENDING"


@dataclass(frozen=True, slots=True)
class ReturnOutcome:
    """The run has ended, and its outcome is in the record."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ReportLost:
    """The run had or may have had a Job that does not exist any more, and its result was not collected."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Ensure that the run's Job exists, and do not wait for its end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Create or adopt the run's Job, and wait until it ends."""


@dataclass(frozen=True, slots=True)
class ReportPolling:
    """The run has not ended, and this call only checks its status."""


Step: TypeAlias = ReturnOutcome | ReportLost | Submit | Wait | ReportPolling


def next_step(record: Record, jobs: JobStatus, now: datetime, *, no_wait: bool) -> Step:
    """The next step. `no_wait`: the call checks or submits the run, and does not wait for its end."""
    if record.outcome is not None:
        return ReturnOutcome(record.outcome)
    if not jobs.present:
        if record.phase == "polling" or not may_create(record, now):
            return ReportLost()
        return Submit() if no_wait else Wait()
    return ReportPolling() if no_wait and not jobs.finished else Wait()


def may_create(record: Record, now: datetime) -> bool:
    """Whether a Job may be created if the cluster has no Job of the run.

    False if the record names a Job, or the run may have had a Job that its TTL has removed.
    """
    created = datetime.fromisoformat(record.created)
    return record.phase in {"reserved", "submitting"} and now - created < _CREATE_MAX_AGE
