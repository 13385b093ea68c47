"""Opens and reads the log streams of one follower, pauses between them, and reports failures.

`follower` uses it while the container runs, `completion` after the container's end. These three methods
return instead of raising if a request fails:

    dial          opens a stream; returns None if it could not be opened
    read_through  makes one bounded read, from the current position to the end of what the server has
    pause         waits until the next attempt; `end_pause` cuts the wait short

`RetryPauses` decides how long to wait. `Connection` counts reconnects and reports them, at most one per
minute.
"""

import asyncio
from dataclasses import dataclass
from math import inf

from paperclip_claude_k8s.base.aio import Backoff, jittered, loop_time
from paperclip_claude_k8s.podlog.dialer import Dialer
from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.interfaces import Ended, LogBroken, LogRefused
from paperclip_claude_k8s.podlog.log_report import ContainerChanged, Reconnecting, TimestampsMissing
from paperclip_claude_k8s.podlog.log_stream import LineTimer, LogStream
from paperclip_claude_k8s.podlog.pipeline import Deliverer, Pipeline
from paperclip_claude_k8s.podlog.resume import Misaligned

NOT_FOUND = 404
NOT_STARTED = 400
"""Status of the response to a request for the log of a container that has not started yet."""
TAIL_RECORDS = 64
"""Number of last records to compare with what was delivered: at most 1 MiB instead of the whole log."""


@dataclass(frozen=True, slots=True)
class BoundedRead:
    """The result of one bounded read."""

    new: bool
    """The response had new lines, whether or not it ended normally."""
    whole: bool = False
    """The response ended normally; otherwise the following fields have no meaning."""
    aligned: bool = False
    """It contained everything delivered before, so the lines after that are complete."""
    partial_line: bytes = b""
    """Its last line, if that has no newline."""


class RetryPauses:
    """How long to wait before the next request."""

    def __init__(self, source_info: SourceInfo, timings: FollowTimings) -> None:
        self.retry_after = 0.0
        """Seconds to wait, as requested by the server."""
        self.unreachable = False
        """The last request had no response at all."""
        self.waiting_since = None if source_info.started else loop_time()
        """Loop time since which the container's start is awaited; None if the container has started."""
        self._backoff = Backoff(timings.reconnect, timings.reconnect_cap)
        self._source_info = source_info
        self._timings = timings
        self._announced_at = float("-inf")
        """Loop time of the last call of `end_pause`."""
        self._ended_early: asyncio.Future[None] | None = None
        """Done as soon as `end_pause` ends the current pause; None if no such pause is in progress."""

    def reset_backoff(self) -> None:
        self._backoff.reset()

    async def pause(self, ended: Ended | None, at_least: float, at_most: float) -> None:
        """Wait until the pause is over, the container has ended, or `end_pause` is called."""
        seconds = min(max(self._next_pause(), self.retry_after, at_least), at_most)
        self.retry_after = 0.0
        if ended is None:
            await asyncio.sleep(seconds)
            return
        self._ended_early = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait(
                [ended, self._ended_early], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._ended_early = None

    def end_pause(self) -> None:
        """End the current pause, and keep the next ones short for a while."""
        self._announced_at = loop_time()
        if self._ended_early is not None and not self._ended_early.done():
            self._ended_early.set_result(None)

    def _next_pause(self) -> float:
        if self.waiting_since is not None and not self.unreachable:
            return self._until_started(loop_time(), self.waiting_since)
        step = self._backoff.pause()
        return min(step, jittered(self._timings.unreachable_cap, 0.1)) if self.unreachable else step

    def _until_started(self, now: float, waiting_since: float) -> float:
        """The pause between two requests for the log of a container that may not be running yet."""
        timings = self._timings
        if now - self._announced_at < timings.start_fast_period:
            return timings.start_fast_retry
        if self._source_info.start_announced:
            return timings.start_announced_retry
        share = (now - waiting_since) * timings.start_retry_share
        return min(max(timings.start_retry, share), timings.start_retry_cap)


class Connection:
    """Opens and reads streams, and passes their bytes to the pipeline."""

    def __init__(
        self, dialer: Dialer, deliverer: Deliverer, source_info: SourceInfo, timings: FollowTimings
    ) -> None:
        self.budget = dialer.budget
        self.pauses = RetryPauses(source_info, timings)
        self.pipeline = Pipeline(deliverer, has_relay=source_info.nonce is not None)
        self.reconnects = 0
        """Streams opened after one that broke. A stream after a normal end counts if it has new lines."""
        self.not_found = 0
        """Consecutive responses with status 404."""
        self.last_error = ""
        """Why the last request failed; "" if it succeeded, or the server has no log."""
        self._dialer = dialer
        self._deliverer = deliverer
        self._source_info = source_info
        self._timings = timings
        self._container_id: str | None = None
        self._first = True
        """Whether no stream was followed yet."""
        self._broke = False
        """Whether a stream broke, or the server could not open one, since the last stream was opened."""
        self._counted = True
        """Whether the current stream has been counted as a reconnect, or need not be."""
        self._read_timeout: asyncio.Timeout | None = None
        self._attempts = 0
        """Failed attempts since the last `Reconnecting` notice."""
        self._reported_at = float("-inf")
        self._reported_missing_stamps = False

    def matches_totals(self) -> bool:
        """Whether the relay's totals are known and everything they count was delivered."""
        return self._deliverer.counts.matches(self._source_info.expected_totals())

    async def dial(self, *, follow: bool, further_back: int = 0) -> LogStream | None:
        """Open the log at the end of the delivered lines. Returns None if the request failed."""
        await self._check_container()
        try:
            stream = await self._dialer.dial(follow=follow, further_back=further_back)
        except LogRefused as refusal:
            self.pauses.unreachable = False
            self.not_found = self.not_found + 1 if refusal.status == NOT_FOUND else 0
            self.last_error = "" if refusal.status == NOT_FOUND else str(refusal)
            self.pauses.retry_after = min(refusal.retry_after or 0.0, self._timings.retry_after_cap)
            if self.pauses.waiting_since is None or refusal.status != NOT_STARTED:
                broke = refusal.status not in {NOT_STARTED, NOT_FOUND}
                await self.report_reconnect(str(refusal), broke=broke)
            return None
        except LogBroken as broken:
            self.pauses.unreachable = True
            self.last_error = str(broken)
            await self.report_reconnect(str(broken))
            return None
        self.pauses.unreachable, self.pauses.waiting_since = False, None
        self.not_found, self.last_error = 0, ""
        if follow:
            self.reconnects += self._broke and not self._first
            self._counted = self._first or self._broke
            self._first = self._broke = False
        self.pipeline.begin(stream)
        return stream

    async def read(self, stream: LogStream, timeout: float) -> bytes:  # noqa: ASYNC109
        """Return the next bytes. Raises `TimeoutError` after `timeout`, or earlier by `shorten_timeout`."""
        try:
            async with asyncio.timeout(timeout) as self._read_timeout:
                return await self.budget.timed(stream.read())
        finally:
            self._read_timeout = None

    def shorten_timeout(self, _: Ended) -> None:
        """The container has ended: the current read waits only for lines that are on their way."""
        if self._read_timeout is not None and not self._read_timeout.expired():
            deadline = loop_time() + self._timings.linger
            self._read_timeout.reschedule(min(deadline, self._read_timeout.when() or deadline))

    async def take(self, stream: LogStream, chunk: bytes) -> None:
        """Deliver what is new. Raises `Misaligned`."""
        await self.pipeline.take(stream, chunk)
        if stream.lacks_stamps and not self._reported_missing_stamps:
            self._reported_missing_stamps = True
            await self._deliverer.sink.notify(TimestampsMissing())
        if stream.brought_new:
            self.pauses.reset_backoff()
            self.reconnects += not self._counted
            self._counted = True

    async def read_through(self, further_back: int = 0) -> BoundedRead:
        """Read everything that the server has beyond the delivered lines."""
        stream = await self.dial(follow=False, further_back=further_back)
        if stream is None:
            return BoundedRead(new=False)
        try:
            await _take_all(self, stream, self._timings)
        except (LogBroken, TimeoutError) as error:
            await self.report_reconnect(str(error) or "a bounded read timed out")
        except Misaligned:
            self.force_rescan()
        else:
            return BoundedRead(
                stream.brought_new, whole=True, aligned=stream.replay.done, partial_line=stream.partial_line
            )
        finally:
            await stream.close()
        return BoundedRead(stream.brought_new)

    async def ends_as_delivered(self) -> bool:
        """Whether the server's last lines are those delivered last. False can also mean "unknown"."""
        try:
            lines = await self._dialer.last_lines(TAIL_RECORDS)
        except (LogBroken, LogRefused):
            return False
        return self._deliverer.position.ends_like(lines[1:] if lines else ())  # the first may be partial

    def reset_backoff(self) -> None:
        """The last stream ended normally: the next request is not a reconnect, and pauses start short."""
        self._dialer.exempt_next_request()
        self.pauses.reset_backoff()

    def force_rescan(self) -> None:
        """The server's log differs from what was expected: scan it before anything more is delivered."""
        self._dialer.must_scan = True

    async def pause(self, ended: Ended | None = None, *, at_least: float = 0.0, at_most: float = inf) -> None:
        """Wait before the next request; see `RetryPauses.pause`."""
        await self.pauses.pause(ended, at_least, at_most)

    async def report_reconnect(self, reason: str, *, broke: bool = True) -> None:
        """Report, at most once per minute, that the log is opened again.

        `broke`: the next stream counts as a reconnect; not if the server has no log (status 400 or 404).
        """
        self._broke |= broke
        self._attempts += 1
        now = loop_time()
        if now - self._reported_at >= self._timings.notice_interval:
            self._reported_at = now
            await self._deliverer.sink.notify(Reconnecting(reason, self._attempts))
            self._attempts = 0

    async def _check_container(self) -> None:
        container_id = self._source_info.container_id()
        if container_id is None or container_id == self._container_id:
            return
        if self._container_id is not None:
            await self._deliverer.sink.notify(ContainerChanged(self._container_id, container_id))
        self._container_id = container_id


async def _take_all(connection: Connection, stream: LogStream, timings: FollowTimings) -> None:
    """Deliver what is new in a bounded read. Raises `LogBroken`, `TimeoutError` and `Misaligned`."""
    timer = LineTimer(stream, connection.budget)
    while chunk := await connection.read(stream, timings.response_timeout):
        await connection.take(stream, chunk)
        if timer.is_over(chunk):
            raise LogBroken(timer.reason)
