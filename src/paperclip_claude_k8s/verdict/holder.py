"""Is the process that holds a slot alive? SPEC 2, mutual exclusion.

A process on this machine is looked up in the process table. Of any other only its Lease tells: it is renewed,
it is gone, or it has not changed for so long by our own clock. Clocks of two machines are never compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from paperclip_claude_k8s.cluster.leases import ProcessId


class Fate(Enum):
    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()


def fate_here(theirs: ProcessId, ours: ProcessId, started_of: Callable[[int], str | None]) -> Fate:
    """What this machine's process table says; `started_of` is None for a pid that is not there."""
    same = theirs.boot == ours.boot and theirs.namespace == ours.namespace
    if not (same and theirs.boot and theirs.namespace and theirs.pid and theirs.started):
        return Fate.UNKNOWN
    return Fate.ALIVE if started_of(theirs.pid) == theirs.started else Fate.DEAD


@dataclass(frozen=True, slots=True)
class Watched:
    """A process Lease as it was seen first, and when, by our own monotonic clock."""

    version: str
    since: float


def fate_by_lease(first: Watched, version: str | None, now: float, expiry: float) -> Fate:
    """`version` is the Lease's now, None when it is gone: said so by its holder, or swept."""
    if version is None:
        return Fate.DEAD
    if version != first.version:
        return Fate.ALIVE
    return Fate.DEAD if now - first.since >= expiry else Fate.UNKNOWN
