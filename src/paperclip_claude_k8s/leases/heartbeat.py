"""The Lease of this process, by which other processes judge whether we are alive.

It exists while the process holds slots, and a second longer. A task renews it every `Timings.lease_renewal`
seconds; if it has not changed for `Timings.lease_expiry` seconds, other processes consider us dead. If a
renewal is late, another process may have taken over a slot: then all locks held at that time get the flag
`may_be_lost`, and their slot Leases are read before a run acts on its Job (`LeaseSlotLocks.still_ours`).
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from paperclip_claude_k8s.base.aio import Nursery, loop_time
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.error_texts import lease_step
from paperclip_claude_k8s.cluster.lease_objects import (
    ProcessId,
    at_version,
    process_lease,
    process_lease_name,
)
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.instrumentation.event_types import LeaseChange, LeaseChanged
from paperclip_claude_k8s.leases.stale_leases import delete_stale_leases
from paperclip_claude_k8s.ports import ProcessSettings, SlotLock, StatusReporter

METHOD_NOT_ALLOWED = 405
LINGER = 1.0
"""Seconds for which a process keeps its Lease after it has released its last slot: the next run often follows
at once."""


@dataclass(slots=True)
class Heartbeat:
    """Creates, renews and deletes the Lease of this process in one namespace."""

    cluster: Cluster
    namespace: str
    me: ProcessId
    settings: ProcessSettings
    nursery: Nursery
    held: Mapping[str, SlotLock]
    """The locks for which the Lease is renewed; their owner adds and removes them."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last lock is released, cleared when one is acquired."""
    unavailable: bool = False
    """Leases cannot be used: the right is missing, or the API server does not serve them."""
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _renewing: asyncio.Task[None] | None = None
    _version: str = ""
    """resourceVersion of our Lease; "" if it is not known."""
    _renewed: float = inf
    """When the request of the last successful renewal was sent, in loop time; infinity without a Lease."""
    _stale_deleted: bool = False
    """Whether we have tried to delete the stale Leases of other processes: we try only once."""

    async def ensure_started(self, reporter: StatusReporter) -> None:
        """Create our Lease and start the task that renews it, unless the task already runs.

        Sets `unavailable` if Leases cannot be used.

        Raises:
            ClusterError: the Lease could not be created, for any other reason.
        """
        async with self._starting:
            if self.unavailable or (self._renewing is not None and not self._renewing.done()):
                return
            try:
                await self._create(reporter)
            except ClusterError as error:
                if not (error.forbidden or error.not_found or error.status == METHOD_NOT_ALLOWED):
                    raise
                self.unavailable = True
                self._emit("unavailable")
                await reporter.warn(
                    f"Leases cannot be used ({error}); falling back to holder annotations on Jobs to keep "
                    f"host processes apart: {lease_step(error)}"
                )
                return
            self._renewing = await self.nursery.start(self._run(), name=f"lease {self.namespace}")

    @property
    def lapsed(self) -> bool:
        """Whether other processes may consider us dead, because the last renewal is too long ago.

        They count from the moment at which they first read the Lease's current version, and we from an
        earlier moment, when we sent the request that wrote that version. Our limit is one renewal interval
        shorter than theirs, so that an API call right after a negative answer reaches the server in time.
        """
        return loop_time() - self._renewed > self._timings.lease_expiry - self._timings.lease_renewal

    async def stop(self) -> None:
        """Delete our Lease if nothing is held, so that no process has to wait until it expires."""
        version, self._version, self._renewed = self._version, "", inf
        if version and not self.held:
            name = process_lease_name(self.me.uuid)
            # A run that begins during this call overwrites the old Lease, which then must not be deleted.
            await delete_lease(
                self.cluster, self.namespace, name, self._timings.cleanup, version, lambda: not self.held
            )

    async def _create(self, reporter: StatusReporter) -> None:
        call = Retrier(self._timings, reporter)
        try:
            await call("create lease", self._write)
        except ClusterError as error:
            if not error.conflict:
                raise
            await call("write lease", self._overwrite)  # it is our own, from a call whose response was lost

    async def _run(self) -> None:
        """Renew the Lease until `LINGER` seconds after the last slot was released, then delete it."""
        try:
            if not self._stale_deleted:
                self._stale_deleted = True
                await delete_stale_leases(self.cluster, self.namespace, self.me, self.settings.now())
            while self.held:
                try:
                    async with asyncio.timeout(self._timings.lease_renewal):
                        await self.idle.wait()
                except TimeoutError:
                    await self._renew()
                else:
                    await asyncio.sleep(LINGER)
        finally:
            self._renewing = None
        await self.stop()

    async def _renew(self) -> None:
        """Renew once. After an error the next round of `_run` tries again, well before the Lease expires."""
        try:
            await (self._write(self._version) if self._version else self._overwrite())
        except ClusterError as error:
            if error.not_found or error.conflict or error.invalid:
                self._version = ""
                with suppress(ClusterError):
                    await self._overwrite()

    async def _overwrite(self) -> None:
        """Write our Lease when we do not know its version, or whether another process has deleted it."""
        current = await self.cluster.read_lease(self.namespace, process_lease_name(self.me.uuid))
        await self._write("" if current is None else current.resource_version)

    async def _write(self, version: str = "") -> None:
        """Replace this version of our Lease; "": create it. Raises `ClusterError`."""
        sent, manifest = loop_time(), self._manifest()
        if version:
            lease = await self.cluster.replace_lease(self.namespace, at_version(manifest, version))
        else:
            lease = await self.cluster.create_lease(self.namespace, manifest)
        if self.lapsed:  # `_renewed`, set below, is still that of the renewal before this one
            self._emit("lapsed")
            for lock in self.held.values():
                lock.may_be_lost = True
        self._version, self._renewed = lease.resource_version, sent

    def _emit(self, change: LeaseChange) -> None:
        emit_lease_change(self.settings, self.namespace, change)

    def _manifest(self) -> dict[str, Any]:
        return process_lease(self.namespace, self.me, self.settings.now(), int(self._timings.lease))

    @property
    def _timings(self) -> Timings:
        return self.settings.timings


def emit_lease_change(
    settings: ProcessSettings, namespace: str, change: LeaseChange, lock: SlotLock | None = None
) -> None:
    """Emit an event about the Lease of a slot, or of this process if `lock` is None."""
    if settings.events.wants(LeaseChanged):
        slot, run = ("", "") if lock is None else (lock.slot, lock.run)
        settings.events.emit(LeaseChanged(settings.now(), namespace, change, slot, run))


async def delete_lease(  # noqa: PLR0913, PLR0917  # what is deleted, when, and how long that may take
    cluster: Cluster,
    namespace: str,
    name: str,
    within: float,
    version: str = "",
    is_unneeded: Callable[[], bool] = lambda: True,
) -> None:
    """Delete a Lease. If it has `version`, the version that the caller expects, that takes one request.

    If it has another version, or `version` is "", it is read first, and deleted if `is_unneeded()` is true.

    Takes at most `within` seconds. Errors are ignored: a Lease that remains is later deleted as stale.
    """
    with suppress(ClusterError, TimeoutError):
        async with asyncio.timeout(within):
            if version and await cluster.delete_lease(namespace, name, version):
                return
            current = await cluster.read_lease(namespace, name)
            if current is not None and is_unneeded():
                await cluster.delete_lease(namespace, name, current.resource_version)
