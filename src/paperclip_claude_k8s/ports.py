"""Everything outside a run that it may touch, in one record."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from paperclip_claude_k8s.base.settings import Limits, Timings
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.podlog import RateLimiter


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Numbers, clock and environment of this process; tests give their own."""

    timings: Timings = field(default_factory=Timings)
    limits: Limits = field(default_factory=Limits)
    now: Callable[[], datetime] = utc_now
    env: Mapping[str, str] = field(default_factory=dict)
    me: ProcessId | None = None
    """Which process this is; None finds out."""


class StatusReporter(Protocol):
    """Says one line to the host."""

    async def status(self, text: str) -> None: ...

    async def warn(self, text: str) -> None: ...


@dataclass(slots=True)
class SlotLock:
    """A slot that a run holds. A slot is one agent, or one agent and task."""

    slot: str
    run: str
    fenced: bool = False
    """A Lease keeps other processes out. False: Leases cannot be used, and only the start gate and the holder
    annotations on Jobs keep two hosts apart."""
    version: str = ""
    """resourceVersion of the slot's Lease as we wrote it; "" if there is none."""
    may_be_lost: bool = False
    """Our process did not renew its own Lease for so long that another one may have taken the slot over."""
    job: str = ""
    """Name of the run's Job, once it has one."""
    preparing: asyncio.Lock | None = None
    """Locked by the run until it has its Job or failed; other runs of this process wait for that."""

    def has_job(self, name: str) -> None:
        """Record the run's Job: its name appears in the error of other runs that want the slot."""
        self.job = name
        self.prepared()

    def prepared(self) -> None:
        """The run has its Job, or failed: let the next run of this process try. May be called repeatedly."""
        mutex, self.preparing = self.preparing, None
        if mutex is not None:
            mutex.release()


class SlotLocks(Protocol):
    """Mutual exclusion of runs per slot, across processes; `leases.slot_locks` implements it with Leases."""

    @property
    def me(self) -> ProcessId: ...

    def hold(
        self, slot: str, run: str, patience: float, reporter: StatusReporter
    ) -> AbstractAsyncContextManager[SlotLock]:
        """Hold a slot for the length of the block, after waiting up to `patience` seconds for it."""
        ...

    async def still_ours(self, lock: SlotLock) -> bool:
        """False if another process took the slot over while ours did not renew its Lease."""
        ...


class StartSignals(Protocol):
    """Which Pods' relays have begun, as a shared volume tells; `volume.start_marks` looks."""

    async def seen(self, volume: str, pod_uid: str) -> None:
        """Wait until the relay of this Pod has begun. `volume`: where the volume is mounted here."""
        ...

    async def remove(self, volume: str, pod_uid: str) -> None:
        """Remove what tells of a Pod whose start was told otherwise."""
        ...


class RunJournal(Protocol):
    """Writes down outside of this process how far a run has come, each step before the next is taken.

    For whoever must be able to go on after SIGKILL at any moment. Nothing here raises: what does is a bug.
    One of `heard` is logged and counted, and the run goes on with a log that is incomplete; others escape.
    """

    @property
    def detached(self) -> bool:
        """Whether Jobs are held for their run beyond this process: only a call that names it adopts them."""
        ...

    async def may_create(self) -> bool:
        """False where the run's Job existed before: then a missing one must not be made again."""
        ...

    async def launched(self, job: JobRef) -> None:
        """The run has this Job, which can start; what is heard next is its output from the beginning."""
        ...

    async def heard(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        """Whole lines of the agent, as they were written."""
        ...

    async def ended(self, result: ExecutionResult | None) -> bool:
        """The Job's result, before the Job is deleted; None: a second attempt with a fresh session follows.

        False where it could not be written down: the Job is kept.
        """
        ...


class NullJournal:
    """The chronicle of a host that keeps its own books."""

    detached = False

    async def may_create(self) -> bool:
        return True

    async def launched(self, job: JobRef) -> None:
        """Nothing to write."""

    async def heard(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        """Nothing to write."""

    async def ended(self, result: ExecutionResult | None) -> bool:  # noqa: ARG002  # as the protocol has it
        return True


@dataclass(frozen=True, slots=True)
class Ports:
    """The neighbours of a run. Shared by all runs of one process that use the same cluster."""

    cluster: Cluster
    informer: Callable[[str], Informer]
    """Namespace → its shared watch."""
    slots: Callable[[str], SlotLocks]
    """Namespace → who works there."""
    settings: ProcessSettings
    rate_limiter: RateLimiter
    """Cap on log reconnects per second, for the whole process."""
    owned_jobs: set[str] = field(default_factory=set)
    """Uids of the Jobs that runs of this process own at this moment."""
    journal: RunJournal = field(default_factory=NullJournal)
    starts: StartSignals | None = None
    """Tells of starts before the API does; None where nobody looks."""
    reader: Callable[[], StreamReader] = StreamReader
    """Makes what reads one agent's output; tests give one that raises."""
