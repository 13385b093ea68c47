"""Everything outside a run that it may touch, in one record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.ground.aio import Turns
from paperclip_claude_k8s.ground.settings import Limits, Timings
from paperclip_claude_k8s.podlog import Governor


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class House:
    """Numbers, clock and environment of this process; tests give their own."""

    timings: Timings = field(default_factory=Timings)
    limits: Limits = field(default_factory=Limits)
    now: Callable[[], datetime] = utc_now
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ports:
    """The neighbours of a run. Shared by all runs of one process that use the same cluster."""

    cluster: Cluster
    informer: Callable[[str], Informer]
    """Namespace → its shared watch."""
    house: House
    governor: Governor
    """Cap on log reconnects per second, for the whole process."""
    turns: Turns = field(default_factory=Turns)
    """One agent at a time between guard and create."""
    held: set[str] = field(default_factory=set)
    """Uids of the Jobs that runs of this process own at this moment."""
