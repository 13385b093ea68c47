"""Locks on slots across processes, made of Leases.

Two kinds of Lease work together:

    ac-slot-HASH      one per held slot; created by its holder's process, never renewed, deleted on release
    ac-process-UUID   one per process, renewed while it holds any slot (`heartbeat`)

A process acquires a slot by creating the slot's Lease. If that Lease exists and the process named in it is
alive (`liveness`), the slot is taken; if that process is dead, the Lease may be overwritten. Of several
processes that try this, only one succeeds, because they name the resourceVersion that they replace.

Within a process the locks are kept in memory as well, so that runs of one process exclude each other without
requests. A Lease keeps other processes from creating Jobs in the slot; it does not give its holder the right
to stop the Job of another run.
"""

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.aio import Backoff, Nursery, loop_time
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.lease_objects import (
    ProcessId,
    at_version,
    holder_of,
    process_lease_name,
    slot_lease,
    slot_lease_name,
)
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.leases.heartbeat import Heartbeat, delete_lease, emit_lease_change
from paperclip_claude_k8s.leases.liveness import Liveness, LivenessProbe
from paperclip_claude_k8s.ports import ProcessSettings, SlotLock, StatusReporter

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Pauses in seconds between attempts to acquire a slot that another process holds. Each is longer than the
one before, up to the longest.

While a run of this process holds the slot, waiting runs send no requests: the release of the lock wakes them
in the order in which they came.
"""


class SlotTaken(Exception):
    """Another run holds the slot, in this process or in another live process."""

    def __init__(self, holder: str, run: str, job: str = "") -> None:
        """`holder`: uuid of the process. `run`: id of the run. `job`: name of its Job; "" if unknown."""
        super().__init__(holder)
        self.run = run
        self.job = job


@dataclass(slots=True)
class LeaseSlotLocks:
    """The slots that runs of this process hold in one namespace."""

    cluster: Cluster
    namespace: str
    me: ProcessId
    settings: ProcessSettings
    nursery: Nursery
    runs: set[str] = field(default_factory=set)
    """Ids of the runs that hold slots. All `LeaseSlotLocks` of this process share the set, because several
    kubeconfigs or contexts may lead to one cluster, where their Leases have the same holder."""
    _held: dict[str, SlotLock] = field(default_factory=dict)
    """Slot → its lock."""
    _undeleted: list[SlotLock] = field(default_factory=list)
    """Released locks whose Leases may still exist."""
    _preparing: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Slot → mutex of the run that is between acquiring the slot and having a Job; dropped when unused."""
    _heartbeat: Heartbeat = field(init=False)
    _leases: "_SlotLeases" = field(init=False)

    def __post_init__(self) -> None:
        common = self.cluster, self.namespace, self.me, self.settings
        self._heartbeat = Heartbeat(*common, self.nursery, self._held)
        self._leases = _SlotLeases(*common, self.runs)

    @asynccontextmanager
    async def hold(
        self, slot: str, run: str, patience: float, reporter: StatusReporter
    ) -> AsyncIterator[SlotLock]:
        """Hold the slot for the length of the block, after waiting up to `patience` seconds for it.

        While another run of this process prepares its Job in the slot, we wait without a limit: until that
        run has a Job or has failed, it is not known whether the slot will stay taken. We also wait without a
        limit while the host stores the result of a run whose agent has ended.

        Raises:
            RunFailure: `k8s_concurrent_run_blocked`; `k8s_concurrency_guard_unreachable`.
        """
        lock = await self._acquire(slot, run, patience, reporter)
        try:
            yield lock
        finally:
            try:
                await self._release(lock)
            finally:
                lock.end_preparation()

    async def still_ours(self, lock: SlotLock) -> bool:
        """False if another process took over the slot. The Lease is read only if our heartbeat has lapsed."""
        if not lock.fenced or not (lock.may_be_lost or self._heartbeat.lapsed):
            return True
        try:
            return await self._leases.read_ours(lock) is not None
        except ClusterError:
            return True  # a failed read proves no loss, and the Job is addressed by its uid

    async def release_all(self) -> None:
        """Release everything, because this process shuts down. The caller sets the time limit."""
        for lock in tuple(self._held.values()):
            await self._release(lock)
        while self._undeleted:
            await self._delete_lease(self._undeleted[0])
        await self._heartbeat.stop()

    async def _acquire(self, slot: str, run: str, patience: float, reporter: StatusReporter) -> SlotLock:
        """Acquire the slot, waiting up to `patience` seconds from the moment at which it is found taken."""
        mutex = self._preparing.setdefault(slot, asyncio.Lock())
        if mutex.locked():
            await reporter.status("Waiting for another run of this agent, which is creating its Job")
        wait = _Wait(patience, reporter)
        while True:
            try:
                return await self._acquire_in_turn(mutex, slot, run, reporter)
            except SlotTaken as taken:
                held = self._held.get(slot)
                if held is not None and held.ending:
                    await held.released.wait()
                    continue
                await wait.check(taken)
            except ClusterError as error:
                raise RunFailure(failures.guard_unreachable(error)) from None
            held = self._held.get(slot)  # the lock may have been released meanwhile
            await wait.until(None if held is None else held.released)

    async def _acquire_in_turn(
        self, mutex: asyncio.Lock, slot: str, run: str, reporter: StatusReporter
    ) -> SlotLock:
        """Try once to acquire the slot, when it is the turn of this run among those of this process.

        On success the mutex stays locked until the run has its Job or failed (`SlotLock.end_preparation`).
        Raises `SlotTaken` or `ClusterError`.
        """
        await mutex.acquire()
        try:
            lock = await self._try_acquire(slot, run, reporter)
        except BaseException:
            mutex.release()
            raise
        lock.preparing = mutex
        return lock

    async def _try_acquire(self, slot: str, run: str, reporter: StatusReporter) -> SlotLock:
        """Try once. Raises `SlotTaken` or `ClusterError`."""
        if slot in self._held:
            held = self._held[slot]
            raise SlotTaken(self.me.uuid, held.run, held.job)
        lock = self._held[slot] = SlotLock(slot, run)  # before the first await, so that other runs see it
        self.runs.add(run)
        self._heartbeat.idle.clear()
        try:
            await self._heartbeat.ensure_started(reporter)  # first, because the slot's Lease names it
            if not self._heartbeat.unavailable:
                lock.version = await self._leases.create_or_take_over(lock, reporter)
                lock.fenced = True
        except BaseException:
            if not self._heartbeat.unavailable:
                await self._leases.delete_ours(lock)  # it may exist even if no response came
            self._remove_held(slot)
            raise
        return lock

    async def _release(self, lock: SlotLock) -> None:
        """Release the lock if it is held.

        The time for this is limited. If the slot's Lease cannot be deleted in that time, it counts as expired
        when the Lease of this process has expired.
        """
        if self._held.get(lock.slot) is not lock:
            return
        self._remove_held(lock.slot)
        if lock.fenced:
            self._undeleted.append(lock)
            await self._delete_lease(lock)

    async def _delete_lease(self, lock: SlotLock) -> None:
        """Delete the slot's Lease. If this is cancelled, the lock stays in `_undeleted` for `release_all`."""
        await self._leases.delete(lock)
        with suppress(ValueError):  # another task may have removed it
            self._undeleted.remove(lock)

    def _remove_held(self, slot: str) -> None:
        lock = self._held.pop(slot)
        lock.released.set()
        self.runs.discard(lock.run)
        if not self._held:
            self._heartbeat.idle.set()


@dataclass(slots=True)
class _Wait:
    """The wait of one run for a slot. `patience`: its longest duration in seconds, from the first `check`."""

    patience: float
    reporter: StatusReporter
    _deadline: float | None = None
    _pauses: Backoff = field(
        default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE, factor=1.5, jitter=0.0)
    )

    async def check(self, taken: SlotTaken) -> None:
        """Note that the slot is held by another run. The first call starts the wait and reports it.

        Raises:
            RunFailure: `k8s_concurrent_run_blocked`, if the run has waited long enough.
        """
        is_new = self._deadline is None
        if self._deadline is None:
            self._deadline = loop_time() + self.patience
        if loop_time() >= self._deadline:
            raise RunFailure(failures.slot_held(taken.run, taken.job))
        if is_new:
            await self.reporter.status(
                f"Waiting up to {self.patience:g}s for the agent's slot, which run {taken.run} holds; "
                "a run with another agent id does not wait"
            )

    async def until(self, released: asyncio.Event | None) -> None:
        """Wait for the event, or for a pause if it is None, but not beyond the deadline."""
        remaining = max((self._deadline or 0.0) - loop_time(), 0.0)
        if released is None:
            await asyncio.sleep(min(self._pauses.pause(), remaining))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(remaining):
                await released.wait()


@dataclass(slots=True)
class _SlotLeases:
    """The Leases of slots as they are on the server."""

    cluster: Cluster
    namespace: str
    me: ProcessId
    settings: ProcessSettings
    runs: AbstractSet[str]
    """Ids of the runs that hold slots in this process, whatever their kubeconfig."""
    _probe: LivenessProbe = field(init=False)

    def __post_init__(self) -> None:
        self._probe = LivenessProbe(self.cluster, self.namespace, self.me, self._timings)

    async def create_or_take_over(self, lock: SlotLock, reporter: StatusReporter) -> str:
        """Create or overwrite the slot's Lease; return its resourceVersion.

        Raises `SlotTaken` or `ClusterError`.
        """
        call = Retrier(self._timings, reporter)
        while True:
            manifest = self._manifest(lock)
            try:
                made = await call(
                    "create lease",
                    lambda: self.cluster.create_lease(self.namespace, manifest),  # noqa: B023
                )
            except ClusterError as error:
                if not error.conflict:
                    raise
            else:
                emit_lease_change(self.settings, self.namespace, "acquired", lock)
                return made.resource_version
            current = await call(
                "read lease", lambda: self.cluster.read_lease(self.namespace, slot_lease_name(lock.slot))
            )
            if current is not None and (version := await self._take_over(current, lock, reporter)):
                return version

    async def _take_over(self, lease: LeaseSnapshot, lock: SlotLock, reporter: StatusReporter) -> str | None:
        """Overwrite the Lease if no live run holds it; return its new version.

        Its holder is then a dead process, an ended run of this process, or this run itself (if the response
        to an earlier call was lost). Returns None if another process changed or deleted the Lease first.
        Raises `SlotTaken` or `ClusterError`.
        """
        holder, their_run = holder_of(lease)
        if holder.uuid == self.me.uuid and their_run != lock.run and their_run in self.runs:
            raise SlotTaken(holder.uuid, their_run)
        if holder.uuid != self.me.uuid:
            if await self._probe.liveness_of(holder, reporter) is Liveness.ALIVE:
                raise SlotTaken(holder.uuid, their_run)
            # deleted, so that nobody waits for its expiry again when another slot of the process is wanted
            name = process_lease_name(holder.uuid)
            await delete_lease(self.cluster, self.namespace, name, self._timings.cleanup)
        manifest = at_version(self._manifest(lock), lease.resource_version)
        try:
            taken = await self.cluster.replace_lease(self.namespace, manifest)
        except ClusterError as error:
            if error.conflict or error.not_found:
                return None
            raise
        emit_lease_change(self.settings, self.namespace, "taken_over", lock)
        return taken.resource_version

    async def read_ours(self, lock: SlotLock) -> LeaseSnapshot | None:
        """The slot's Lease if this lock's run holds it. Raises `ClusterError`."""
        lease = await self.cluster.read_lease(self.namespace, slot_lease_name(lock.slot))
        return lease if lease is not None and lease.holder == f"{self.me.uuid}/{lock.run}" else None

    async def delete_ours(self, lock: SlotLock) -> None:
        """Delete the slot's Lease, whatever its version, if this lock's run holds it; errors are ignored."""
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._timings.cleanup):
                if (lease := await self.read_ours(lock)) is not None:
                    await self.cluster.delete_lease(self.namespace, lease.name, lease.resource_version)

    async def delete(self, lock: SlotLock) -> None:
        """Delete the slot's Lease if it still has the version that we wrote; errors are ignored."""
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._timings.cleanup):
                name = slot_lease_name(lock.slot)
                if await self.cluster.delete_lease(self.namespace, name, lock.version):
                    emit_lease_change(self.settings, self.namespace, "released", lock)

    def _manifest(self, lock: SlotLock) -> dict[str, Any]:
        return slot_lease(self.namespace, lock.slot, lock.run, self.me, self.settings.now())

    @property
    def _timings(self) -> Timings:
        return self.settings.timings
