"""Is the process that holds a slot still alive?

A process of this machine is looked up in the process table. Any other process is judged by its Lease:

    it changed since we first read it    the holder renews it: alive
    it does not exist                    the holder released it, or died and was cleaned up: dead
    it is unchanged for the expiry time  dead (`Timings.lease_expiry`)
    it cannot be read                    unknown; the time begins again, as the holder may be unable to renew
    otherwise                            unknown: read it again later

The expiry time is measured with our own monotonic clock. The times written in the Lease are not used, because
the clocks of two machines may differ. (`stale_leases` uses them, with a margin of an hour.)
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.lease_objects import ProcessId, process_lease_name
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.leases.process_id import start_time
from paperclip_claude_k8s.ports import StatusReporter

POLL_INTERVAL = 2.0
"""Seconds between two reads of the Lease of a process that may be alive or dead."""


class Liveness(Enum):
    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()


def local_liveness(
    theirs: ProcessId, ours: ProcessId, start_time_of: Callable[[int], str | None]
) -> Liveness:
    """Judge by this machine's process table; `UNKNOWN` for a process of another machine or pid namespace.

    `start_time_of` returns None for a pid that does not exist.
    """
    same = theirs.boot == ours.boot and theirs.namespace == ours.namespace
    if not (same and theirs.boot and theirs.namespace and theirs.pid and theirs.started):
        return Liveness.UNKNOWN
    return Liveness.ALIVE if start_time_of(theirs.pid) == theirs.started else Liveness.DEAD


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """The version of a process's Lease at our first read of it, and the time of that read in loop time."""

    version: str
    since: float


def lease_liveness(first: ObservedLease, version: str | None, now: float, expiry: float) -> Liveness:
    """Judge a process by its Lease. `version`: the Lease's current version; None if it does not exist."""
    if version is None:
        return Liveness.DEAD
    if version != first.version:
        return Liveness.ALIVE
    return Liveness.DEAD if now - first.since >= expiry else Liveness.UNKNOWN


@dataclass(slots=True)
class LivenessProbe:
    """Finds out whether other processes are alive.

    The first read of a Lease is remembered between calls: if a caller stops waiting and asks again later, the
    expiry time still counts from that read.
    """

    cluster: Cluster
    namespace: str
    me: ProcessId
    timings: Timings
    _observed: dict[str, ObservedLease] = field(default_factory=dict)

    async def liveness_of(self, holder: ProcessId, reporter: StatusReporter) -> Liveness:
        """Wait until it is known whether the holder is `ALIVE` or `DEAD`, and return that.

        This takes up to `Timings.lease_expiry`, counted anew after each failed read.
        """
        liveness, reported = local_liveness(holder, self.me, start_time), False
        while liveness is Liveness.UNKNOWN:
            liveness = await self._by_lease(holder.uuid)
            if liveness is not Liveness.UNKNOWN:
                break
            if not reported:
                reported = True
                expiry = self.timings.lease_expiry
                await reporter.status(
                    f"Waiting up to {expiry:g}s for the previous host process's Lease to expire"
                )
            await asyncio.sleep(POLL_INTERVAL)
        return liveness

    async def _by_lease(self, uuid: str) -> Liveness:
        try:
            lease = await self.cluster.read_lease(self.namespace, process_lease_name(uuid))
        except ClusterError:
            # perhaps the holder cannot renew it either: the expiry time begins again with the next read
            self._observed.pop(uuid, None)
            return Liveness.UNKNOWN
        version, now = (lease.resource_version if lease is not None else None), loop_time()
        first = self._observed.setdefault(uuid, ObservedLease(version or "", now))
        liveness = lease_liveness(first, version, now, self.timings.lease_expiry)
        if liveness is not Liveness.UNKNOWN:
            del self._observed[uuid]
        return liveness
