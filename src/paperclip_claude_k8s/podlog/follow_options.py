"""Facts about the container, and all durations that a follower uses.

`SourceInfo` differs from run to run. `FollowTimings` is the same for all runs of a process; tests use other
durations.
"""

from collections.abc import Callable
from dataclasses import dataclass

from paperclip_claude_k8s.podlog.interfaces import RelayFile
from paperclip_claude_k8s.podlog.log_report import Totals


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """The container whose log is followed. The defaults describe a container without a relay."""

    nonce: str | None = None
    """Eight hex digits that mark the relay's own lines; None if the container has no relay."""
    expected_totals: Callable[[], Totals | None] = lambda: None
    """Returns the relay's totals as soon as they are known, usually when the container has terminated."""
    container_id: Callable[[], str | None] = lambda: None
    """Returns the runtime's id of the container as last observed. A new id is reported as a restart."""
    relay_file: RelayFile | None = None
    """The relay's copy of stdout, used to fill gaps; None if it cannot be reached."""
    started: bool = True
    """False: the container may not be running yet. Requests are repeated until its log can be opened."""
    start_announced: bool = False
    """True: the caller calls `Follower.retry_now` when the container starts. Until then requests are rare."""
    goes_on: bool = False
    """True: the container still writes, and only what it has written so far is wanted, in whole lines."""


@dataclass(frozen=True, slots=True)
class FollowTimings:
    """All durations are seconds."""

    reconnect: float = 0.2
    """First pause before the log is opened again. It doubles, with jitter; new lines reset it."""
    reconnect_cap: float = 5.0
    """Longest such pause while the server responds; `Retry-After` can demand a longer pause."""
    retry_after_cap: float = 60.0
    """Longest pause that `Retry-After` can demand: the agent works on, and its output must be shown."""
    end_pause: float = 1.0
    """Pause after a stream that the server ended normally. Usually the container has terminated, and the
    API reports that within this time."""
    end_pause_growth: float = 3.0
    """Factor by which `end_pause` grows for each consecutive stream that returned nothing."""
    end_pause_cap: float = 30.0
    """Longest such pause: a busy kubelet reports a container's end up to a minute late."""
    start_retry: float = 0.7
    """First pause between two requests for the log of a container that may not be running yet."""
    start_retry_share: float = 0.15
    """Later pauses, as a share of the time waited so far: pulling an image can take minutes."""
    start_retry_cap: float = 5.0
    """Longest such pause."""
    start_announced_retry: float = 15.0
    """`start_retry` if the start will be announced: a fallback in case the announcement is missed."""
    start_fast_retry: float = 0.15
    """`start_retry` right after the announcement: the kubelet itself needs a second to notice the start."""
    start_fast_period: float = 5.0
    """How long after the announcement `start_fast_retry` applies."""
    unreachable_cap: float = 0.9
    """Longest pause between requests, ± 10 %, while the server does not respond at all. Such requests put no
    load on it, and lines arrive soon after its return."""
    silence_timeout: float = 65.0
    """If the relay writes bookmarks (whenever stdout was silent for 20 s), a stream without any byte for this
    long is replaced."""
    probe_after: float = 30.0
    """Without bookmarks: silence after which a bounded read checks whether the stream missed lines."""
    probe_every: float = 60.0
    """Without bookmarks: further silence after which this check is repeated."""
    file_check_after: float = 4.0
    """Silence after which the relay's file, if present, is checked for lines that the stream lacks. Together
    with `linger`, which gives such lines time to arrive, a stuck stream is detected after 5 s."""
    replay_timeout: float = 2.0
    """Longest silence while the response repeats delivered lines. The server has these lines already, so a
    silent stream has stalled, and is replaced after a scan."""
    response_timeout: float = 10.0
    """Longest wait for the head of a response, and for the next bytes of a bounded read."""
    stall_timeout: float = 60.0
    """Longest time in which a bounded read, or any read after the container's end, brings a few bytes,
    but no line."""
    rest_timeout: float = 120.0
    """After the container's end: total time for which the follower waits for the server, if that sends next
    to nothing. Each byte that arrives prolongs this time (`podlog.read_budget`)."""
    rest_cap: float = 3600.0
    """Upper bound of that total time: the largest log takes half as long at 5 MiB/s."""
    rest_cap_after_stop: float = 60.0
    """The same upper bound after a stop, because the host waits for the result."""
    linger: float = 1.0
    """After the container's end: silence after which the stream is closed and a bounded read follows."""
    completion_timeout: float = 30.0
    """After the container's end: time without a new line after which the log is given up as incomplete."""
    notice_interval: float = 60.0
    """Shortest time between two `Reconnecting` notices."""
