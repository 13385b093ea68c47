"""Who may work in a slot, across processes: Leases, taken, watched and given back (SPEC 2).

Leases keep two writers apart. They never authorise ending somebody's Job.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.lease_objects import (
    ProcessId,
    holder_of,
    over,
    process_lease,
    process_lease_name,
    slot_lease,
    slot_lease_name,
)
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.leases.liveness import LivenessProbe
from paperclip_claude_k8s.leases.stale_leases import sweep
from paperclip_claude_k8s.ports import ProcessSettings, SlotLock, StatusReporter
from paperclip_claude_k8s.verdict.holder import Liveness

METHOD_NOT_ALLOWED = 405
LOOK_AGAIN = 2.0
"""Seconds between two tries for a slot that another run holds."""
LINGER = 1.0
"""Seconds a process keeps its Lease after its last run: the next run often follows at once."""


class SlotHeldElsewhere(Exception):
    """The slot's holder is alive. `job`: its Job, where that is known."""

    def __init__(self, holder: str, run: str, job: str = "") -> None:
        super().__init__(holder)
        self.run = run
        self.job = job


@dataclass(slots=True)
class LeaseSlotLocks:
    """All slots that runs of this process hold in one namespace."""

    cluster: Cluster
    namespace: str
    me: ProcessId
    settings: ProcessSettings
    nursery: Nursery
    forbidden: bool = False
    _held: dict[str, SlotLock] = field(default_factory=dict)
    _owed: list[SlotLock] = field(default_factory=list)
    """Slots that were given back, and whose Leases may still be there."""
    _preparing: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Slot → the lock of whoever is between taking it and having a Job; nobody's when nobody wants it."""
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _version: str = ""
    _renewing: asyncio.Task[None] | None = None
    _renewed: float = 0.0
    _swept: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _fates: LivenessProbe = field(init=False)

    def __post_init__(self) -> None:
        self._fates = LivenessProbe(self.cluster, self.namespace, self.me, self.settings.timings)

    @asynccontextmanager
    async def tenure(
        self, slot: str, run: str, patience: float, say: StatusReporter
    ) -> AsyncIterator[SlotLock]:
        """Hold the slot for the length of the block, after waiting up to `patience` seconds for it.

        While another run of this process prepares its Job in the slot we wait, however long: until then
        nobody knows whether the slot is taken.

        Raises:
            RunFailure: `k8s_concurrent_run_blocked`; `k8s_concurrency_guard_unreachable`.
        """
        held = await self._patiently(slot, run, patience, say)
        try:
            yield held
        finally:
            try:
                await self._give_back(held)
            finally:
                held.prepared()

    async def still_ours(self, held: SlotLock) -> bool:
        """Whether nobody took the slot over; asked only where our own Lease was not renewed for too long."""
        if not held.fenced or not (held.doubtful or self._was_unheard()):
            return True
        try:
            lease = await self.cluster.read_lease(self.namespace, slot_lease_name(held.slot))
        except ClusterError:
            return True  # not observed is not lost; the Job's uid guards what is done to it
        return lease is not None and lease.holder == f"{self.me.uuid}/{held.run}"

    async def release_all(self) -> None:
        """The host goes down: say that we hold nothing any more. Bounded by the caller."""
        for held in tuple(self._held.values()):
            await self._give_back(held)
        while self._owed:
            await self._settle(self._owed[0])
        await self._leave()

    # taking a slot ------------------------------------------------------------------------------

    async def _patiently(self, slot: str, run: str, patience: float, say: StatusReporter) -> SlotLock:
        """`patience` counts from the moment at which the slot is known to be taken."""
        lock = self._preparing.setdefault(slot, asyncio.Lock())
        if lock.locked():
            await say.status("Waiting while another run of this agent prepares its Job")
        deadline: float | None = None
        while True:
            try:
                return await self._in_turn(lock, slot, run, say)
            except SlotHeldElsewhere as rival:
                if deadline is None:
                    deadline = await self._told_to_wait(patience, say)
                if self._now() >= deadline:
                    raise RunFailure(failures.slot_held(rival.run, rival.job)) from None
            except ClusterError as error:
                raise RunFailure(failures.guard_unreachable(error)) from None
            await asyncio.sleep(min(LOOK_AGAIN, max(deadline - self._now(), 0.0)))

    async def _told_to_wait(self, patience: float, say: StatusReporter) -> float:
        """When the patience ends that begins now."""
        deadline = self._now() + patience
        if patience > 0:
            await say.status(f"Waiting up to {patience:g}s for the agent's slot, which another run holds")
        return deadline

    async def _in_turn(self, lock: asyncio.Lock, slot: str, run: str, say: StatusReporter) -> SlotLock:
        """One try, after those who came before; the lock stays taken until the run has its Job or failed.

        Raises `SlotHeldElsewhere` or `ClusterError`.
        """
        await lock.acquire()
        try:
            held = await self._take(slot, run, say)
        except BaseException:
            lock.release()
            raise
        held.preparing = lock
        return held

    async def _take(self, slot: str, run: str, say: StatusReporter) -> SlotLock:
        """Raises `SlotHeldElsewhere` or `ClusterError`."""
        if slot in self._held:
            there = self._held[slot]
            raise SlotHeldElsewhere(self.me.uuid, there.run, there.job)
        held = self._held[slot] = SlotLock(slot, run)  # at once: others of this process see it
        self._idle.clear()
        try:
            await self._attend(say)
            if not self.forbidden:
                held.version = await self._win(slot, run, say)
                held.fenced = True
        except BaseException:
            if not self.forbidden:
                await self._delete_if_ours(held)  # it may have been created without our hearing of it
            self._vacate(slot)
            raise
        return held

    async def _win(self, slot: str, run: str, say: StatusReporter) -> str:
        """The version of the slot's Lease once it is ours."""
        call = Retrier(self._timings, say)
        while True:
            wish = slot_lease(self.namespace, slot, run, self.me, self.settings.now())
            try:
                made = await call("create lease", lambda: self.cluster.create_lease(self.namespace, wish))  # noqa: B023
            except ClusterError as error:
                if not error.conflict:
                    raise
            else:
                return made.resource_version
            there = await call(
                "read lease", lambda: self.cluster.read_lease(self.namespace, slot_lease_name(slot))
            )
            if there is not None and (version := await self._inherit(there, slot, run, say)):
                return version

    async def _inherit(self, lease: LeaseSnapshot, slot: str, run: str, say: StatusReporter) -> str | None:
        """Take the slot over from a holder that is dead; None when somebody was faster."""
        holder, their_run = holder_of(lease)
        if holder.uuid != self.me.uuid:
            if await self._fates.of(holder, say) is Liveness.ALIVE:
                raise SlotHeldElsewhere(holder.uuid, their_run)
            await self._delete(process_lease_name(holder.uuid))
        wish = over(
            slot_lease(self.namespace, slot, run, self.me, self.settings.now()), lease.resource_version
        )
        try:
            return (await self.cluster.replace_lease(self.namespace, wish)).resource_version
        except ClusterError as error:
            if error.conflict or error.not_found:
                return None
            raise

    # giving it back -----------------------------------------------------------------------------

    async def _give_back(self, held: SlotLock) -> None:
        """Bounded; what stays is a Lease whose holder will be dead."""
        if self._held.get(held.slot) is not held:
            return
        self._vacate(held.slot)
        if held.fenced:
            self._owed.append(held)
            await self._settle(held)

    async def _settle(self, held: SlotLock) -> None:
        """Delete the slot's Lease; a run that is cancelled meanwhile still owes that."""
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._timings.tidy):
                name = slot_lease_name(held.slot)
                await self.cluster.delete_lease(self.namespace, name, held.version)
        with suppress(ValueError):  # two may have paid
            self._owed.remove(held)

    def _vacate(self, slot: str) -> None:
        del self._held[slot]
        if not self._held:
            self._idle.set()

    # our own Lease ------------------------------------------------------------------------------

    async def _attend(self, say: StatusReporter) -> None:
        """See to it that our own Lease is there and renewed."""
        async with self._taking:
            if self.forbidden or (self._renewing is not None and not self._renewing.done()):
                return
            try:
                await self._appear(say)
            except ClusterError as error:
                if not (error.forbidden or error.not_found or error.status == METHOD_NOT_ALLOWED):
                    raise
                self.forbidden = True
                await say.warn(
                    f"Leases cannot be used ({error}): two host processes are kept apart by what Jobs say of "
                    f"their holder; {failures.lease_step(error)}"
                )
                return
            self._renewing = await self.nursery.start(self._renew(), name=f"lease {self.namespace}")

    async def _appear(self, say: StatusReporter) -> None:
        call = Retrier(self._timings, say)
        try:
            made = await call("create lease", lambda: self.cluster.create_lease(self.namespace, self._mine()))
        except ClusterError as error:
            if not error.conflict:
                raise
            await call("write lease", self._write_again)  # our own, from a call whose answer was lost
        else:
            self._version, self._renewed = made.resource_version, self._now()

    async def _renew(self) -> None:
        """Until a while after the last slot was given back; then the Lease goes."""
        try:
            if not self._swept:
                self._swept = True
                await sweep(self.cluster, self.namespace, self.me, self.settings.now())
            while self._held:
                try:
                    async with asyncio.timeout(self._timings.lease_renewal):
                        await self._idle.wait()
                except TimeoutError:
                    await self._renew_once()
                else:
                    await asyncio.sleep(LINGER)
        finally:
            self._renewing = None
        await self._leave()

    async def _renew_once(self) -> None:
        """Out of reach, or refused for a moment: the next turn tries again."""
        try:
            if not self._version:
                await self._write_again()
                return
            made = await self.cluster.replace_lease(self.namespace, over(self._mine(), self._version))
        except ClusterError as error:
            if error.not_found or error.conflict or error.invalid:
                self._version = ""
                with suppress(ClusterError):
                    await self._write_again()
        else:
            self._renewed_as(made.resource_version)

    def _renewed_as(self, version: str) -> None:
        if self._was_unheard():
            for held in self._held.values():
                held.doubtful = True
        self._version, self._renewed = version, self._now()

    def _was_unheard(self) -> bool:
        """Whether others may have taken us for dead meanwhile."""
        return self._now() - self._renewed > self._timings.lease_expiry - self._timings.lease_renewal

    async def _write_again(self) -> None:
        """An answer was lost, or somebody swept us: what is there now is ours to write over."""
        there = await self.cluster.read_lease(self.namespace, process_lease_name(self.me.uuid))
        if there is None:
            made = await self.cluster.create_lease(self.namespace, self._mine())
        else:
            wish = over(self._mine(), there.resource_version)
            made = await self.cluster.replace_lease(self.namespace, wish)
        self._renewed_as(made.resource_version)

    async def _leave(self) -> None:
        """Delete our own Lease: whoever waits for us to prove dead need not wait any more."""
        version, self._version = self._version, ""
        if version and not self._held:
            await self._delete(process_lease_name(self.me.uuid), version)

    async def _delete_if_ours(self, held: SlotLock) -> None:
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._timings.tidy):
                name = slot_lease_name(held.slot)
                there = await self.cluster.read_lease(self.namespace, name)
                if there is not None and there.holder == f"{self.me.uuid}/{held.run}":
                    await self.cluster.delete_lease(self.namespace, name, there.resource_version)

    async def _delete(self, name: str, version: str = "") -> None:
        """The Lease as it is now, `version` as we think; one that cannot be deleted is swept some day."""
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._timings.tidy):
                if version and await self.cluster.delete_lease(self.namespace, name, version):
                    return
                there = await self.cluster.read_lease(self.namespace, name)
                if there is not None:
                    await self.cluster.delete_lease(self.namespace, name, there.resource_version)

    def _mine(self) -> dict[str, Any]:
        return process_lease(self.namespace, self.me, self.settings.now(), int(self._timings.lease))

    @property
    def _timings(self) -> Timings:
        return self.settings.timings

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
