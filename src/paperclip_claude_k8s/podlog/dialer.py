"""Opens a log at the right position. Where counting cannot determine the position, it scans the log first.

`dial` is what `connection` calls. It takes the plan from `position`. If the plan has no count, or the
previous response did not match its plan, whole responses are scanned (`resume.Scan`) before one is opened
for delivery. A loss is accepted only after three scans in a row agree: a wrong result would deliver the
whole log again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from paperclip_claude_k8s.podlog.interfaces import LogBroken, LogSource
from paperclip_claude_k8s.podlog.log_lines import LineBatch, LineKey
from paperclip_claude_k8s.podlog.log_stream import LineTimer, LogStream
from paperclip_claude_k8s.podlog.missing_stamps import ServerStamps
from paperclip_claude_k8s.podlog.position import Position, ResumePlan
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter
from paperclip_claude_k8s.podlog.read_budget import ReadBudget
from paperclip_claude_k8s.podlog.resume import (
    Misaligned,
    ResponseCut,
    Scan,
    ScanResult,
    TailFound,
    TailInterleaved,
    TailMissing,
)

AGREEING_SCANS = 3
"""Number of consecutive scans that must show the same loss."""
SCAN_PAUSE = 0.2
"""Seconds between two scans; most causes of a wrong response pass in this time."""
MAX_SCANS = 6
"""After this many scans the server counts as broken: its responses end early or contradict each other."""


class Dialer:
    """Opens responses for one follower."""

    def __init__(
        self,
        source: LogSource,
        position: Position,
        rate_limiter: RateLimiter,
        *,
        nonce: str | None,
        budget: ReadBudget,
    ) -> None:
        self.must_scan = False
        """A response differed from its plan: scan before the next response is opened for delivery."""
        self._source = source
        self._server_stamps = ServerStamps(nonce)
        self._position = position
        self._rate_limiter = rate_limiter
        self.budget = budget
        self._timings = budget.timings
        self._is_reconnect = False
        """Whether the rate limit applies to the next request."""

    def exempt_next_request(self) -> None:
        """The next request does not follow a failure, so the rate limit for reconnects does not apply."""
        self._is_reconnect = False

    async def dial(self, *, follow: bool, further_back: int = 0) -> LogStream:
        """Open the log at the end of the delivered lines. Raises `LogRefused` or `LogBroken`."""
        plan = self._position.plan(further_back)
        if plan.count is None or (self.must_scan and plan.tail):  # without a tail, a scan has nothing to find
            plan = await self._find_position(plan)
        stream = await self._open(plan, follow=follow)
        self.must_scan = False
        return stream

    async def _find_position(self, plan: ResumePlan) -> ResumePlan:
        """Scan until the last delivered lines are found, or several scans show the same loss."""
        losses: list[TailInterleaved | TailMissing] = []
        for _ in range(MAX_SCANS):
            match await self._scan(plan):
                case TailFound(found):
                    return found
                case ResponseCut():
                    losses = []
                case loss:
                    losses = [*losses, loss] if all(map(loss.confirms, losses)) else [loss]
                    if len(losses) == AGREEING_SCANS:
                        return self._plan_after(loss, plan)
            await asyncio.sleep(SCAN_PAUSE)
        raise LogBroken("the log ended early, or was not the same, each time it was read")

    def _plan_after(self, loss: TailInterleaved | TailMissing, plan: ResumePlan) -> ResumePlan:
        """The plan after a loss on which the scans agree.

        After `TailInterleaved`, only lines before the last delivered one are lost, and the scan made the
        plan. After `TailMissing`, the server no longer has the last delivered line. All lines that it has are
        then newer, and are delivered.
        """
        if isinstance(loss, TailInterleaved):
            return loss.plan
        known = frozenset(key for key in (plan.opening, self._position.beginning) if key)
        return ResumePlan(since=None, count=0, lost=True, first_lines_if_not_lost=known)

    async def _scan(self, plan: ResumePlan) -> ScanResult:
        """Read everything since the start time of the plan, without keeping it."""
        scan = Scan(plan, self._position.beginning)
        stream = await self._open(replace(plan, count=0), follow=False)
        async for batch in self._batches_of(stream):
            scan.feed(batch)
        return ResponseCut() if stream.ends_with_error_text else scan.result()

    async def last_lines(self, records: int) -> Sequence[LineKey] | None:
        """Keys of the lines in the last records; None if the last line is partial. Raises as `dial` does."""
        stream = await self._open(ResumePlan(since=None, count=0), follow=False, tail=records)
        keys: deque[LineKey] = deque(maxlen=records)  # a server may send more than was asked for
        async for batch in self._batches_of(stream):
            keys.extend(batch.line_keys())
        return None if stream.partial_line else list(keys)

    async def _batches_of(self, stream: LogStream) -> AsyncIterator[LineBatch]:
        """All lines of a response, which is then closed. Raises `LogBroken`."""
        timer = LineTimer(stream, self.budget)
        try:
            while chunk := await self._read(stream):
                for item in stream.new_lines(chunk):
                    if isinstance(item, LineBatch):
                        yield item
                if timer.is_over(chunk):
                    raise LogBroken(timer.reason)
        except Misaligned:
            raise LogBroken("the response is no log, or has timestamps that earlier ones lacked") from None
        finally:
            await stream.close()

    async def _read(self, stream: LogStream) -> bytes:
        try:
            async with asyncio.timeout(self._timings.response_timeout):
                return await self.budget.timed(stream.read())
        except TimeoutError:
            raise LogBroken(
                f"no bytes for {self._timings.response_timeout:.0f} s in a bounded read"
            ) from None

    async def _open(self, plan: ResumePlan, *, follow: bool, tail: int | None = None) -> LogStream:
        if self._is_reconnect:
            await self._rate_limiter.acquire()
        self._is_reconnect = True
        stream = LogStream(plan, self._server_stamps)
        self.budget.requested()
        try:
            async with asyncio.timeout(self._timings.response_timeout):
                await stream.open(self._source, follow=follow, tail=tail)
        except TimeoutError:
            await stream.close()
            raise LogBroken(f"no response within {self._timings.response_timeout:.0f} s") from None
        return stream
