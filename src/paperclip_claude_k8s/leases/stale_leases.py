"""Deletes Leases that ended processes left behind: once per process, after it has created its own Lease."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.lease_objects import ProcessId, holder_of, is_process_lease, is_slot_lease
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.leases.liveness import Liveness, local_liveness
from paperclip_claude_k8s.leases.process_id import start_time

STALE_AFTER = timedelta(hours=1)
"""From this age the Lease of a process that may be dead is stale. It is much more than the difference between
the clocks of two machines."""


async def delete_stale_leases(cluster: Cluster, namespace: str, me: ProcessId, now: datetime) -> None:
    """Delete stale Leases. After an error the next process deletes the rest: no run depends on it."""

    def liveness_of(holder: ProcessId) -> Liveness:
        return local_liveness(holder, me, start_time)

    with suppress(ClusterError):
        leases = (await cluster.list_leases(namespace, ALL_OURS)).items
        for lease in find_stale(leases, liveness_of, now):
            await cluster.delete_lease(namespace, lease.name, lease.resource_version)


def find_stale(
    leases: Sequence[LeaseSnapshot], liveness_of: Callable[[ProcessId], Liveness], now: datetime
) -> list[LeaseSnapshot]:
    """The Leases of dead processes, and the old Leases of processes that may be dead.

    A slot's Lease is never renewed, so its age shows nothing as long as the Lease of its holder's process is
    not stale.
    """

    def is_stale(lease: LeaseSnapshot) -> bool:
        dead = liveness_of(holder_of(lease)[0]) is Liveness.DEAD
        return dead or (lease.renewed is not None and now - lease.renewed > STALE_AFTER)

    processes = [lease for lease in leases if is_process_lease(lease)]
    stale = [lease for lease in processes if is_stale(lease)]
    kept_holders = {lease.holder for lease in processes} - {lease.holder for lease in stale}
    slots = [lease for lease in leases if is_slot_lease(lease) and _has_process(lease)]
    return [
        lease for lease in slots if holder_of(lease)[0].uuid not in kept_holders and is_stale(lease)
    ] + stale


def _has_process(lease: LeaseSnapshot) -> bool:
    """Whether a process holds the Lease. Early versions also wrote `detached:RUN`, for a Job without one."""
    return ":" not in holder_of(lease)[0].uuid
