"""How long the rest of a log is waited for after the container's end.

A server could send ever new lines, or answer each request with one more, and nothing shows that they are not
the container's. So the time spent waiting for the server is limited. What arrives earns more time, because a
large log takes long. Time in which the receiver handles output does not count.
"""

from collections.abc import Awaitable

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog.follow_options import FollowTimings
from paperclip_claude_k8s.podlog.interfaces import Ended

SLOWEST = 64 * 1024
"""Bytes per second with which a large log, or a very long line, arrives at least."""
PER_REQUEST = 1.0
"""Seconds that each request counts at least, however soon it is answered."""
USED_UP = "the server sends lines without end, long after the container has ended"


class ReadBudget:
    """Unlimited until `begin` is called."""

    def __init__(self, timings: FollowTimings) -> None:
        self.timings = timings
        self._cap = timings.rest_cap
        self._began: float | None = None
        self._spent = 0.0
        self._bytes = 0

    def begin(self, _: Ended) -> None:
        """The container has ended."""
        if self._began is None:
            self._began = loop_time()

    def shorten(self) -> None:
        """The run was stopped, and its host waits for the answer."""
        self._cap = self.timings.rest_cap_after_stop

    async def timed(self, read: Awaitable[bytes]) -> bytes:
        """The next bytes of a response. Raises what `read` raises."""
        since, chunk = loop_time(), b""
        try:
            chunk = await read
        finally:
            if self._began is not None:
                self._spent += loop_time() - max(since, self._began)
                self._bytes += len(chunk)
        return chunk

    def requested(self) -> None:
        """A request was sent."""
        if self._began is not None:
            self._spent += PER_REQUEST

    @property
    def is_used_up(self) -> bool:
        return self._spent > min(self.timings.rest_timeout + self._bytes / SLOWEST, self._cap)
