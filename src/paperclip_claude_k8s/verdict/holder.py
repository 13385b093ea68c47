"""Is the process that holds a slot alive? SPEC 2, mutual exclusion.

A process on this machine is looked up in the process table. Of any other only its Lease tells: it is renewed,
it is gone, or it has not changed for so long by our own clock. Clocks of two machines are never compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from paperclip_claude_k8s.cluster.lease_objects import ProcessId


class Liveness(Enum):
    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()


def local_liveness(theirs: ProcessId, ours: ProcessId, started_of: Callable[[int], str | None]) -> Liveness:
    """What this machine's process table says; `started_of` is None for a pid that is not there."""
    same = theirs.boot == ours.boot and theirs.namespace == ours.namespace
    if not (same and theirs.boot and theirs.namespace and theirs.pid and theirs.started):
        return Liveness.UNKNOWN
    return Liveness.ALIVE if started_of(theirs.pid) == theirs.started else Liveness.DEAD


@dataclass(frozen=True, slots=True)
class ObservedLease:
    """A process Lease as it was seen first, and when, by our own monotonic clock."""

    version: str
    since: float


def lease_liveness(first: ObservedLease, version: str | None, now: float, expiry: float) -> Liveness:
    """`version` is the Lease's now, None when it is gone: said so by its holder, or swept."""
    if version is None:
        return Liveness.DEAD
    if version != first.version:
        return Liveness.ALIVE
    return Liveness.DEAD if now - first.since >= expiry else Liveness.UNKNOWN
