"""The follower: keeps a log open, through whatever happens to the connection, until all of it was delivered.

It awaits and asks; what an answer means is decided in `resume`, `crossing` and `ledger`. The end of a stream
proves nothing and silence proves nothing: only `ended` ends the reading.
"""

from contextlib import suppress
from enum import Enum, auto

from paperclip_claude_k8s.podlog.backfill import Backfill
from paperclip_claude_k8s.podlog.completion import Completion
from paperclip_claude_k8s.podlog.connection import Session
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.dialer import Dialer
from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.log_report import LogReport
from paperclip_claude_k8s.podlog.log_stream import LogStream
from paperclip_claude_k8s.podlog.position import EVER, Cursor
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter
from paperclip_claude_k8s.podlog.resume import Misaligned
from paperclip_claude_k8s.podlog.sink import Ended, LogSink
from paperclip_claude_k8s.podlog.source import LogBroken, LogSource

USUAL = FollowTimings()
"""Of every follower that is told no other; one for all, since a thousand may follow at once."""
STEP_BACK = 3600
"""Seconds a node's clock may be set back while we are cut off, and its lines are still found soon."""


class Stop(Enum):
    """Why an open stream is read no longer."""

    FINISHED = auto()
    OVER = auto()
    """The server ended it."""
    CUT = auto()
    SILENT = auto()


class Follower:
    """Follows one container's log to its end; `run` may be awaited once."""

    def __init__(
        self,
        source: LogSource,
        sink: LogSink,
        origin: SourceInfo | None = None,
        *,
        pace: FollowTimings | None = None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self._origin = origin or SourceInfo()
        self._pace = pace or USUAL
        self._delivery = Delivery(sink, self._origin)
        self._mender = Backfill(self._delivery, self._origin.filler) if self._origin.filler else None
        self._delivery.restorer = self._mender
        dialer = Dialer(
            source, self._delivery.trail, rate_limiter or RateLimiter(), patience=self._pace.answer
        )
        self._session = Session(dialer, self._delivery, self._origin, self._pace, self._mender)
        self._silent: LogStream | None = None
        self._may_hide = True
        self._cut_short = True
        self._further_back = 0
        self._barren_ends = 0
        self._reopened_at: int | None = None

    @property
    def cursor(self) -> Cursor:
        """Where the delivery stands, to be stored."""
        ledger = self._delivery.ledger
        counts = (ledger.bytes, ledger.lines, ledger.missing)
        return self._delivery.trail.cursor(self._session.container, counts)

    def hurry(self) -> None:
        """The container has started, or something else is a reason to try again now."""
        self._session.wake()

    async def run(self, ended: Ended) -> LogReport:
        """Deliver the log until `ended` is done and everything the server has was read.

        Raises nothing but what is a bug: refusals and broken connections are borne. A sink that raises is
        logged and counted, and the report then says that the log is not complete.
        """
        ended.add_done_callback(self._session.hurry)
        try:
            await self._live(ended)
            completion = Completion(self._session, self._delivery, self._origin, self._pace, self._mender)
            await completion.run(may_hide=self._may_hide, cut_short=self._cut_short)
        finally:
            ended.remove_done_callback(self._session.hurry)
        return completion.report()

    async def _live(self, ended: Ended) -> None:
        """Keep a stream open while the container runs."""
        try:
            if not self._origin.started:
                await self._session.pause(ended)
            while not ended.done():
                feed = await self._session.dial(follow=True, further_back=self._further_back)
                stop = Stop.CUT if feed is None else await self._follow(feed, ended)
                if stop is Stop.OVER and feed is not None:
                    await self._session.pause(ended, least=self._after_end(feed))
                elif stop is Stop.CUT:
                    await self._session.pause(ended)
        finally:
            await self._release()

    def _after_end(self, feed: LogStream) -> float:
        """The pause after a stream that ended by itself: one after the other, without a line, mean an end."""
        self._barren_ends = 0 if feed.brought_new else self._barren_ends + 1
        pace = self._pace
        return min(pace.after_end * pace.after_end_growth**self._barren_ends, pace.after_end_cap)

    async def _follow(self, feed: LogStream, ended: Ended) -> Stop:
        """Read one stream as long as it is of use. A silent one stays open until another has delivered."""
        stop, self._may_hide, self._cut_short = Stop.CUT, True, True
        try:
            stop = await self._listen(feed, ended)
        finally:
            if stop is Stop.SILENT and self._silent is None:
                self._silent = feed
            else:
                await feed.close()
        return stop

    async def _listen(self, feed: LogStream, ended: Ended) -> Stop:
        probes = 0
        while True:
            try:
                chunk = await self._next(feed, ended, self._patience(feed, ended, probes))
            except TimeoutError:
                stop = await self._on_silence(feed, ended, probes)
                if stop:
                    return stop
                probes += 1
                continue
            except LogBroken as broken:
                await self._session.say(str(broken))
                return Stop.CUT
            if not chunk:
                self._may_hide, self._cut_short = feed.may_hide, feed.ends_strangely
                if feed.ends_strangely:
                    await self._delivery.stray(feed.partial_line)
                    return Stop.CUT
                return Stop.OVER
            if not await self._take(feed, chunk):
                return Stop.CUT
            probes = 0

    async def _next(self, feed: LogStream, ended: Ended, limit: float) -> bytes:
        """The next bytes. Raises `TimeoutError`, or `LogBroken` also where the relay's file has more."""
        early = self._pace.file_after
        if self._mender is None or limit <= early:
            return await self._session.read(feed, limit)
        with suppress(TimeoutError):
            return await self._session.read(feed, early)
        place = self._delivery.ledger.position
        # once at each place: the log may lack for good what the file has
        behind = not ended.done() and place != self._reopened_at and await self._mender.is_ahead()
        if ended.done():  # nobody hurries a read that begins only now
            raise TimeoutError
        if not behind:
            return await self._session.read(feed, limit - early)
        with suppress(TimeoutError):  # what was written just now may be on its way
            return await self._session.read(feed, self._pace.linger)
        if ended.done():
            raise TimeoutError
        self._reopened_at = place
        raise LogBroken(f"no byte for {early + self._pace.linger:.0f} s, though the agent wrote more")

    async def _take(self, feed: LogStream, chunk: bytes) -> bool:
        """Deliver a chunk; False when the answer is not what it should be."""
        try:
            await self._session.take(feed, chunk)
        except Misaligned:
            self._session.doubt()
            return False
        await self._release()
        if feed.brought_new:
            self._further_back = 0
        return True

    def _patience(self, feed: LogStream, ended: Ended, probes: int) -> float:
        """How long this stream may be silent before something is done about it."""
        if ended.done():
            return self._pace.linger
        if not feed.replay.over:
            return self._pace.settle
        if self._delivery.bookmarked:
            return self._pace.silence
        return self._pace.probe_every if probes else self._pace.probe_after

    async def _on_silence(self, feed: LogStream, ended: Ended, probes: int) -> Stop | None:
        if ended.done():
            return Stop.FINISHED
        if not feed.replay.over:
            self._session.doubt()
            return Stop.CUT
        if self._delivery.bookmarked:
            # a node's clock that was set back hides its lines from a request for later ones
            self._further_back = EVER if feed.brought_nothing else 0
            await self._session.say(f"no byte for {self._pace.silence:.0f} s, not even a bookmark")
            return Stop.SILENT
        doubt = feed.brought_nothing if probes == 0 else feed.may_hide and probes == 1
        found = await self._session.read_through(STEP_BACK if doubt else 0)
        if not found.new:
            return None
        await self._session.say("the stream had missed lines that a second read brought")
        return Stop.CUT

    async def _release(self) -> None:
        silent, self._silent = self._silent, None
        if silent:
            await silent.close()
