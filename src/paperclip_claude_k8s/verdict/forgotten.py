"""Leases that nobody will ever give back, because their process died (SPEC 2)."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from paperclip_claude_k8s.cluster.lease_objects import ProcessId, holder_of, is_process_lease, is_slot_lease
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.verdict.holder import Liveness

FORGOTTEN = timedelta(hours=1)
"""Age at which a Lease whose process may have died counts as forgotten; clocks differ by less."""


def forgotten(
    leases: Sequence[LeaseSnapshot], fate_of: Callable[[ProcessId], Liveness], now: datetime
) -> list[LeaseSnapshot]:
    """Which of our Leases to delete: those of the dead at once, those of the unknown when they are old.

    A slot's Lease is written once, so its age says nothing while its holder's own Lease is there.
    """

    def is_lost(lease: LeaseSnapshot) -> bool:
        dead = fate_of(holder_of(lease)[0]) is Liveness.DEAD
        return dead or (lease.renewed is not None and now - lease.renewed > FORGOTTEN)

    processes = [lease for lease in leases if is_process_lease(lease)]
    gone = [lease for lease in processes if is_lost(lease)]
    heard = {lease.holder for lease in processes} - {lease.holder for lease in gone}
    slots = [lease for lease in leases if is_slot_lease(lease) and _needs_process(lease)]
    return [lease for lease in slots if holder_of(lease)[0].uuid not in heard and is_lost(lease)] + gone


def _needs_process(lease: LeaseSnapshot) -> bool:
    """A holder such as `detached:RUN` is no process: it lives as long as its Job (SPEC 12)."""
    return ":" not in lease.holder
