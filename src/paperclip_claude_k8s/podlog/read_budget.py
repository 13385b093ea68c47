"""Limits how long a follower waits for the rest of a log after the container's end.

A server could send new lines without end, or one more line in each response, and nothing shows that the lines
are not the container's. So the time spent waiting for the server is limited. The limit grows with the bytes
that arrive, because reading a large log takes long. Time in which the receiver handles output does not count.
"""

from collections.abc import Awaitable

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog.follow_options import FollowTimings
from paperclip_claude_k8s.podlog.interfaces import Ended

MIN_BYTES_PER_SECOND = 64 * 1024
"""Lowest speed at which a large log, or a very long line, is expected to arrive."""
SECONDS_PER_REQUEST = 1.0
"""Seconds that each request adds to the time spent, besides the wait for its response."""
USED_UP = "the server sends lines without end, long after the container has ended"


class ReadBudget:
    """The time for the rest of a log. It is unlimited until `begin` is called."""

    def __init__(self, timings: FollowTimings) -> None:
        self.timings = timings
        self._cap = timings.rest_cap
        self._began: float | None = None
        self._spent = 0.0
        self._bytes = 0

    def begin(self, _: Ended) -> None:
        """Begin to count time and bytes: the container has ended."""
        if self._began is None:
            self._began = loop_time()

    def shorten(self) -> None:
        """Lower the limit: the run was stopped, and its host waits for the result."""
        self._cap = self.timings.rest_cap_after_stop

    async def timed(self, read: Awaitable[bytes]) -> bytes:
        """Await the next bytes of a response, and count the time. Raises what `read` raises."""
        since, chunk = loop_time(), b""
        try:
            chunk = await read
        finally:
            if self._began is not None:
                self._spent += loop_time() - max(since, self._began)
                self._bytes += len(chunk)
        return chunk

    def requested(self) -> None:
        """Count a request that was sent."""
        if self._began is not None:
            self._spent += SECONDS_PER_REQUEST

    @property
    def is_used_up(self) -> bool:
        limit = self.timings.rest_timeout + self._bytes / MIN_BYTES_PER_SECOND
        return self._spent > min(limit, self._cap)
