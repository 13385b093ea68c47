"""What a follower knows about the container, and the pace it keeps."""

from collections.abc import Callable
from dataclasses import dataclass

from paperclip_claude_k8s.podlog.log_report import Totals
from paperclip_claude_k8s.podlog.position import Cursor
from paperclip_claude_k8s.podlog.sink import GapFiller


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """The container whose log it is. The defaults describe one of which nothing is known."""

    nonce: str | None = None
    """Eight hex digits that mark the relay's own lines; None when there is no relay."""
    expected: Callable[[], Totals | None] = lambda: None
    """The relay's totals as soon as they are known, usually with the container's end."""
    container: Callable[[], str | None] = lambda: None
    """The runtime's id of the container as last seen; a change is told, since log may be lost with it."""
    filler: GapFiller | None = None
    """The relay's file, to fill gaps from; None where it cannot be reached."""
    started: bool = True
    """False: the container may not run yet, and its log is tried until it can be opened."""
    start_told: bool = False
    """Somebody calls `Follower.hurry` when the container starts: until then tries are few."""
    cursor: Cursor | None = None
    """A stored position to go on from; None streams from the very beginning."""


@dataclass(frozen=True, slots=True)
class FollowTimings:
    """Durations in seconds (SPEC 5)."""

    reconnect: float = 0.2
    """First pause before the log is opened again; doubles with jitter, new lines reset it."""
    reconnect_cap: float = 5.0
    """Longest pause between two tries that are answered."""
    after_end: float = 1.0
    """Pause after a stream that ended by itself: most often its container has ended, which is told soon."""
    after_end_growth: float = 3.0
    """Factor of that pause for each such stream after it that brought nothing."""
    after_end_cap: float = 30.0
    """Longest pause of that kind: a busy kubelet tells an end up to a minute late."""
    start_step: float = 0.7
    """Pause between two tries to open the log of a container that may not run yet, at first."""
    start_told_step: float = 15.0
    """The same, at any time, where somebody tells when it starts: only for the case that this fails."""
    start_hurry: float = 0.15
    """The same in the first seconds after somebody told: the kubelet itself takes a second to notice."""
    start_hurried: float = 5.0
    """How long it is tried so often."""
    start_share: float = 0.15
    """The same as a share of the time waited so far, once that is more: an image can take minutes."""
    start_cap: float = 5.0
    """Longest pause of that kind."""
    away_cap: float = 0.9
    """Longest pause while nobody answers: that burdens no server, and lines wait for its return."""
    silence: float = 65.0
    """With bookmarks every 20 s of quiet, a stream without a byte for so long is dead."""
    probe_after: float = 30.0
    """Without bookmarks: silence after which one bounded read asks whether the stream missed something."""
    probe_every: float = 60.0
    """Step of the bounded reads after the first."""
    file_after: float = 4.0
    """Silence after which the relay's file, where it is at hand, is looked at for lines that are missing;
    with `linger`, which those get to arrive, it is 5 s until a stream counts as stuck."""
    settle: float = 2.0
    """The server sends replays at once; one that stalls for so long is looked at with a bounded read."""
    answer: float = 10.0
    """Longest wait for the head of an answer, and for the next bytes of a bounded one."""
    linger: float = 1.0
    """After the container's end: silence of the stream after which a bounded read completes the log."""
    completion: float = 30.0
    """After the container's end: how long the log may bring nothing new before we stop asking."""
    say_every: float = 60.0
    """Least distance between two notices of the same kind."""
