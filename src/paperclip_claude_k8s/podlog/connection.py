"""What the live part and the completion of one follower share: opening, reading, and bearing failures."""

import asyncio
from dataclasses import dataclass

from paperclip_claude_k8s.base.aio import Backoff, jittered
from paperclip_claude_k8s.podlog.backfill import Backfill
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.dialer import Dialer
from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.log_report import ContainerChanged, Reconnecting
from paperclip_claude_k8s.podlog.log_stream import LogStream
from paperclip_claude_k8s.podlog.pipeline import Pipeline
from paperclip_claude_k8s.podlog.resume import Misaligned
from paperclip_claude_k8s.podlog.sink import Ended
from paperclip_claude_k8s.podlog.source import LogBroken, LogRefused

NOT_STARTED = 400
"""Status of the answer to a request for the log of a container that has not started yet."""
TAIL_RECORDS = 64
"""The last records to compare with what was delivered: 1 MiB at most, where a whole read may be many."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One bounded read."""

    new: bool
    """It brought lines, however it ended."""
    whole: bool = False
    """It came to its end; else that was noted, and the rest of this says nothing."""
    aligned: bool = False
    """All that was delivered before stood in it, so that it says something about what follows."""
    partial_line: bytes = b""


class Session:
    """One follower's dealings with the server."""

    def __init__(
        self,
        dialer: Dialer,
        delivery: Delivery,
        origin: SourceInfo,
        pace: FollowTimings,
        backfill: Backfill | None,
    ) -> None:
        self.reconnects = 0
        """Streams opened after one that broke, and after others those that brought something."""
        self.missing_answers = 0
        """Answers 404 in a row."""
        self._dialer = dialer
        self._delivery = delivery
        self._origin = origin
        self._pace = pace
        self.intake = Pipeline(delivery, origin, backfill)
        self._backoff = Backoff(pace.reconnect, pace.reconnect_cap)
        self._retry_after = 0.0
        self._away = False
        self._container = origin.cursor.container if origin.cursor else None
        self._waits_since = None if origin.started else asyncio.get_running_loop().time()
        """Since when the container was waited for; None once its log was opened."""
        self._hurried_at = float("-inf")
        self._first = True
        self._broke = False
        self._brought = True
        self._nap: asyncio.Future[None] | None = None
        self._scope: asyncio.Timeout | None = None
        self._tries = 0
        self._said_at = float("-inf")

    @property
    def container(self) -> str | None:
        return self._container

    def proven(self) -> bool:
        """Whether the relay's totals are known and met."""
        return self._delivery.ledger.proves(self._origin.expected())

    async def dial(self, *, follow: bool, further_back: int = 0) -> LogStream | None:
        """Open the log where the delivery stands; None when that failed, which was noted."""
        await self._note_container()
        try:
            feed = await self._dialer.dial(follow=follow, further_back=further_back)
        except LogRefused as refusal:
            self._away = False
            self.missing_answers = self.missing_answers + 1 if refusal.status == 404 else 0
            self._retry_after = refusal.retry_after or 0.0
            if self._waits_since is None or refusal.status != NOT_STARTED:
                await self.say(str(refusal), broke=refusal.status not in {NOT_STARTED, 404})
            return None
        except LogBroken as broken:
            self._away = True
            await self.say(str(broken))
            return None
        self._away, self._waits_since = False, None
        self.missing_answers = 0
        if follow:
            self.reconnects += self._broke and not self._first
            self._brought = self._first or self._broke
            self._first = self._broke = False
        self.intake.begin(feed)
        return feed

    async def read(self, feed: LogStream, limit: float) -> bytes:
        """The next bytes. Raises `TimeoutError` after `limit` seconds, or earlier when told to hurry."""
        try:
            async with asyncio.timeout(limit) as self._scope:
                return await feed.read()
        finally:
            self._scope = None

    def hurry(self, _: Ended) -> None:
        """The container has ended: a read under way waits no longer than is of use now."""
        if self._scope is not None and not self._scope.expired():
            limit = asyncio.get_running_loop().time() + self._pace.linger
            self._scope.reschedule(min(limit, self._scope.when() or limit))

    async def take(self, feed: LogStream, chunk: bytes) -> None:
        """Deliver what is new. Raises `Misaligned`."""
        await self.intake.take(feed, chunk)
        if feed.brought_new:
            self._backoff.reset()
            self.reconnects += not self._brought
            self._brought = True

    async def read_through(self, further_back: int = 0) -> Pass:
        """One bounded read from where the delivery stands."""
        feed = await self.dial(follow=False, further_back=further_back)
        if feed is None:
            return Pass(new=False)
        try:
            while chunk := await self.read(feed, self._pace.answer):
                await self.take(feed, chunk)
        except (LogBroken, TimeoutError) as error:
            await self.say(str(error) or "a bounded read stalled")
        except Misaligned:
            self.doubt()
        else:
            return Pass(
                feed.brought_new, whole=True, aligned=feed.replay.over, partial_line=feed.partial_line
            )
        finally:
            await feed.close()
        return Pass(feed.brought_new)

    async def ends_as_delivered(self) -> bool:
        """Whether the server's last lines are those delivered last: a cheap look, not always conclusive."""
        try:
            lines = await self._dialer.tail(TAIL_RECORDS)
        except (LogBroken, LogRefused):
            return False
        return self._delivery.trail.ends_like(lines[1:] if lines else ())  # the first may be torn

    def excuse(self) -> None:
        """The last stream ended by itself: what is read next is no reconnect, and pauses begin anew."""
        self._dialer.excuse()
        self._backoff.reset()

    def doubt(self) -> None:
        """The server has something else than expected: look before the next answer is believed."""
        self._dialer.doubtful = True

    async def pause(self, ended: Ended | None = None, *, least: float = 0.0) -> None:
        """Stay away for a while, or until the container has ended, or somebody calls `wake`."""
        seconds = max(self._next_pause(), self._retry_after, least)
        self._retry_after = 0.0
        if ended is None:
            await asyncio.sleep(seconds)
            return
        self._nap = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([ended, self._nap], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._nap = None

    def wake(self) -> None:
        """End a pause under way: there is a reason to try now."""
        self._hurried_at = asyncio.get_running_loop().time()
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    def _next_pause(self) -> float:
        pace = self._pace
        if self._waits_since is not None and not self._away:
            return self._until_next_try(asyncio.get_running_loop().time())
        step = self._backoff.pause()
        return min(step, jittered(pace.away_cap, 0.1)) if self._away else step

    def _until_next_try(self, now: float) -> float:
        """The pause before the log of a container that may not run yet is tried again."""
        pace = self._pace
        if now - self._hurried_at < pace.start_hurried:
            return pace.start_hurry
        if self._origin.start_told:
            return pace.start_told_step
        waited = now - (self._waits_since or now)
        return min(max(pace.start_step, waited * pace.start_share), pace.start_cap)

    async def say(self, why: str, *, broke: bool = True) -> None:
        """Tell, at most once per minute, that the log is opened again; `broke`: nobody ended the stream."""
        self._broke |= broke
        self._tries += 1
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= self._pace.say_every:
            self._said_at = now
            await self._delivery.tell(Reconnecting(why, self._tries))
            self._tries = 0

    async def _note_container(self) -> None:
        now = self._origin.container()
        if now is None or now == self._container:
            return
        if self._container is not None:
            await self._delivery.tell(ContainerChanged(self._container, now))
        self._container = now
