"""What a run uses of the world outside it: the cluster, locks, journal, clock and settings, as one object.

The Protocols here are implemented elsewhere (`run.narrate`, `leases`, `volume`, `cli.runs`); tests pass their
own.
"""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from paperclip_claude_k8s.base.room import Room
from paperclip_claude_k8s.base.settings import LIMITS, Limits, Timings
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.labels import SHARED_MOUNT
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.host.daily_spending import DailySpending
from paperclip_claude_k8s.host.policy import Policy, PolicyInvalid
from paperclip_claude_k8s.host.policy_file import read_policy
from paperclip_claude_k8s.host.policy_folders import HostFolders
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.instrumentation.event_hub import EventHub
from paperclip_claude_k8s.podlog import FollowTimings, RateLimiter


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Timings, limits, clock and environment of this process. Tests pass their own."""

    timings: Timings = field(default_factory=Timings)
    follow_timings: FollowTimings = field(default_factory=FollowTimings)
    limits: Limits = field(default_factory=Limits)
    now: Callable[[], datetime] = utc_now
    env: Mapping[str, str] = field(default_factory=dict)
    me: ProcessId | None = None
    """Identity of this process; None: determined from the operating system."""
    spending: DailySpending = field(default_factory=DailySpending)
    """What the runs of today have cost."""
    events: EventHub = field(default_factory=EventHub)
    """Passes the events of this process to loggers and subscribers."""
    policy: Policy = field(default_factory=Policy)
    """What configs may use."""
    policy_error: str | None = None
    """Why the administrator's policy cannot be used; then no run may start. None: `policy` is in force."""

    @classmethod
    def read(
        cls, env: Mapping[str, str], policy: "Policy | Mapping[str, Any] | None" = None
    ) -> "ProcessSettings":
        """The settings for this environment and policy; None: the policy of CLAUDE_K8S_POLICY.

        Raises `PolicyInvalid` for an invalid `policy`, but not for an invalid file: that fails the runs, so
        that the host can start and report it.
        """
        if policy is not None:
            return cls(env=env, policy=Policy.read(policy))
        try:
            return cls(env=env, policy=read_policy(env))
        except PolicyInvalid as error:
            return cls(env=env, policy_error=str(error))

    @property
    def folders(self) -> HostFolders:
        """The folders of this host from which a config may name files."""
        return HostFolders(self.policy, self.env, SHARED_MOUNT)


class StatusReporter(Protocol):
    """Sends single lines of the adapter to the host's log of the run."""

    async def status(self, text: str) -> None: ...

    async def warn(self, text: str) -> None: ...


@dataclass(slots=True)
class SlotLock:
    """A slot that a run holds. A slot is one agent, or one agent and task."""

    slot: str
    run: str
    fenced: bool = False
    """True: a Lease keeps other processes out of the slot. False: Leases cannot be used, and only the start
    gate and the holder annotations on Jobs keep two hosts from running the same agent."""
    version: str = ""
    """resourceVersion of the slot's Lease as this process wrote it; "" if there is no Lease."""
    may_be_lost: bool = False
    """This process did not renew its own Lease for so long that another process may have taken over the
    slot."""
    job: str = ""
    """Name of the run's Job; "" until it has one."""
    job_uid: str = ""
    """Uid of the Job that the run created; "" if it has created none."""
    ending: bool = False
    """The agent has ended, and the host stores its result: the slot is free within seconds."""
    released: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when the run no longer holds the slot; waiting runs of this process try then."""
    preparing: asyncio.Lock | None = None
    """Locked by the run until it has its Job or failed; other runs of this process wait for that."""

    def record_job(self, name: str) -> None:
        """Record the run's Job, which ends the preparation. Errors of other runs of the slot name it."""
        self.job = name
        self.end_preparation()

    def end_preparation(self) -> None:
        """The run has its Job, or failed: the next run of this process may try. Idempotent."""
        mutex, self.preparing = self.preparing, None
        if mutex is not None:
            mutex.release()


class SlotLocks(Protocol):
    """Mutual exclusion of runs per slot, across processes; `leases.slot_locks` implements it with Leases."""

    @property
    def me(self) -> ProcessId: ...

    @property
    def runs(self) -> AbstractSet[str]:
        """Ids of the runs that hold slots in this process."""
        ...

    def hold(
        self, slot: str, run: str, patience: float, reporter: StatusReporter
    ) -> AbstractAsyncContextManager[SlotLock]:
        """Hold a slot for the length of the block, after waiting up to `patience` seconds for it."""
        ...

    async def still_ours(self, lock: SlotLock) -> bool:
        """False if another process took the slot over while this one did not renew its Lease."""
        ...


class StartSignals(Protocol):
    """Start marks of relays on a shared volume. `volume.start_marks` implements it."""

    async def wait_for_start(self, volume: str, pod_uid: str) -> None:
        """Wait for the Pod's start mark and remove it. `volume`: the volume's path in this process."""
        ...

    async def remove(self, volume: str, pod_uid: str) -> None:
        """Remove the start mark of a Pod whose start was observed in another way."""
        ...


class RunJournal(Protocol):
    """Records the progress of a run outside this process; each step is recorded before the next one begins.

    A program that must be able to continue a run after a SIGKILL at any moment implements it. The methods
    must not raise. Exceptions of `output` are counted, the first is logged, and the run continues with an
    incomplete log; exceptions of the other methods end the run as a bug.
    """

    @property
    def detached(self) -> bool:
        """True if Jobs belong to their run, not to this process: only a call for that run adopts them."""
        ...

    async def may_create(self) -> bool:
        """False if the run already had a Job: if that Job is missing now, no second one may be created."""
        ...

    async def launched(self, job: JobRef) -> None:
        """Record that the run has this Job, whose Pod can start now. `output` then gets the Pod's output."""
        ...

    def status(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Record a line of the adapter itself, without a newline. `stream`: stderr for a warning."""
        ...

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        """Record whole lines of the agent's output, unchanged."""
        ...

    async def ended(self, result: ExecutionResult | None) -> bool:
        """Record the Job's result before the Job is deleted. None: a second attempt follows.

        False: it could not be recorded, so the Job must be kept.
        """
        ...


class NullJournal:
    """Records nothing, for hosts that store the progress of runs themselves."""

    detached = False

    async def may_create(self) -> bool:
        return True

    async def launched(self, job: JobRef) -> None:
        """Nothing is recorded."""

    def status(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Nothing is recorded."""

    async def output(self, stream: Literal["stdout", "stderr"], block: bytes) -> None:
        """Nothing is recorded."""

    async def ended(self, result: ExecutionResult | None) -> bool:  # noqa: ARG002  # the Protocol's parameter
        return True


@dataclass(frozen=True, slots=True)
class Ports:
    """All that a run uses of the outside. One instance serves all runs of one kubeconfig and context."""

    cluster: Cluster
    informer: Callable[[str], Informer]
    """Namespace → its shared watch."""
    slot_locks: Callable[[str], SlotLocks]
    """Namespace → its slot locks."""
    settings: ProcessSettings
    rate_limiter: RateLimiter
    """Limits log reconnects per second, for the whole process."""
    owned_jobs: set[str] = field(default_factory=set)
    """Uids of the Jobs that runs of this process own now."""
    journal: RunJournal = field(default_factory=NullJournal)
    uploads: Room = field(default_factory=lambda: Room(LIMITS.uploaded_bytes))
    """Room for packed folders and large skills in the cluster, for the whole process."""
    start_marks: StartSignals | None = None
    """Reports starts earlier than the API does; None: start marks are not used."""
    reader: Callable[[], StreamReader] = StreamReader
    """Creates the parser of one agent's output; tests pass one that raises."""
