"""Opening a log at the right place, with a look at it first where counting alone cannot tell the place."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from paperclip_claude_k8s.podlog.log_lines import Key, Run
from paperclip_claude_k8s.podlog.log_stream import LogStream
from paperclip_claude_k8s.podlog.position import Plan, Position
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter
from paperclip_claude_k8s.podlog.resume import Finding, Found, NotThere, Scan, Scattered, TooShort
from paperclip_claude_k8s.podlog.source import LogBroken, LogSource

AGREEING = 3
"""Looks that must find nothing of ours before it is believed: a wrong belief would repeat the whole log."""
SCAN_PAUSE = 0.2
"""Seconds between two looks; what garbles answers passes by."""
SCANS = 6
"""Looks at an answer before the server counts as broken: it keeps ending early or changing its mind."""


class Dialer:
    """Opens answers for one follower."""

    def __init__(
        self, source: LogSource, trail: Position, rate_limiter: RateLimiter, *, patience: float
    ) -> None:
        self.doubtful = False
        """Set when an answer was not what the plan expected: the next one is looked at first."""
        self._source = source
        self._trail = trail
        self._governor = rate_limiter
        self._patience = patience
        self._dialled = False

    def excuse(self) -> None:
        """The next request follows on nothing that failed: it takes no turn among the reconnects."""
        self._dialled = False

    async def dial(self, *, follow: bool, further_back: int = 0) -> LogStream:
        """Open the log where the delivery stands. Raises `LogRefused` or `LogBroken`."""
        plan = self._trail.plan(further_back)
        if plan.count is None or (self.doubtful and plan.tail):
            plan = await self._look(plan)
        feed = await self._open(plan, follow=follow)
        self.doubtful = False
        return feed

    async def _look(self, plan: Plan) -> Plan:
        """Find our last line in what the server has, or make sure that it is gone."""
        doubts: list[Scattered | NotThere] = []
        for _ in range(SCANS):
            match await self._scan(plan):
                case Found(found):
                    return found
                case TooShort():
                    doubts = []
                case doubt:
                    doubts = [*doubts, doubt] if all(map(doubt.confirms, doubts)) else [doubt]
                    if len(doubts) == AGREEING:
                        return self._accepted(doubt, plan)
            await asyncio.sleep(SCAN_PAUSE)
        raise LogBroken("the log ended early each time it was read")

    def _accepted(self, doubt: Scattered | NotThere, plan: Plan) -> Plan:
        """The plan for a loss that is sure. What a server has without our last line was written after it."""
        if isinstance(doubt, Scattered):
            return doubt.plan
        known = frozenset(key for key in (plan.opening, self._trail.beginning) if key)
        return Plan(None, 0, lost=True, disproof=known)

    async def _scan(self, plan: Plan) -> Finding:
        """Read what the server has from the plan's time on, keeping nothing."""
        scan = Scan(plan, self._trail.beginning)
        feed = await self._open(replace(plan, count=0), follow=False)
        try:
            while chunk := await self._read(feed):
                for item in feed.new(chunk):
                    if isinstance(item, Run):
                        scan.feed(item)
        finally:
            await feed.close()
        return TooShort() if feed.ends_strangely else scan.finding()

    async def _read(self, feed: LogStream) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await feed.read()
        except TimeoutError:
            raise LogBroken(f"nothing for {self._patience:.0f} s in a bounded read") from None

    async def tail(self, records: int) -> Sequence[Key] | None:
        """The lines among the last records; None where it ends in a torn one. Raises as `dial` does."""
        feed = await self._open(Plan(None, 0), follow=False, tail=records)
        keys: list[Key] = []
        try:
            while chunk := await self._read(feed):
                for item in feed.new(chunk):
                    keys += item.recall() if isinstance(item, Run) else ()
        finally:
            await feed.close()
        return None if feed.partial_line else keys

    async def _open(self, plan: Plan, *, follow: bool, tail: int | None = None) -> LogStream:
        if self._dialled:
            await self._governor.turn()
        self._dialled = True
        feed = LogStream(plan)
        try:
            async with asyncio.timeout(self._patience):
                await feed.open(self._source, follow=follow, tail=tail)
        except TimeoutError:
            await feed.close()
            raise LogBroken(f"no answer within {self._patience:.0f} s") from None
        return feed
