"""Follows one container's log until all of it is delivered, whatever happens to the connection.

`Follower.run` has two parts: `LiveReader` keeps a stream open while the container runs, `Completion` reads
the rest afterwards. Neither the end of a stream nor silence proves that the container has ended; only
`ended` does. While the container runs, a stream is given up for one of these reasons:

    it ended, broke, or differs from what was delivered    open it again
    silence, although the relay writes bookmarks           open a second one, then close the first
    silence without bookmarks                              a bounded read; if it has new lines, open it again
    silence, although the relay's file has more            open it again, once per position
"""

from contextlib import suppress
from enum import Enum, auto

from paperclip_claude_k8s.podlog.completion import Completion
from paperclip_claude_k8s.podlog.connection import Connection
from paperclip_claude_k8s.podlog.dialer import Dialer
from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.interfaces import Ended, LogBroken, LogSink, LogSource
from paperclip_claude_k8s.podlog.log_report import LogReport
from paperclip_claude_k8s.podlog.log_stream import LineTimer, LogStream
from paperclip_claude_k8s.podlog.pipeline import Deliverer
from paperclip_claude_k8s.podlog.position import ENTIRE_LOG
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter
from paperclip_claude_k8s.podlog.read_budget import ReadBudget
from paperclip_claude_k8s.podlog.resume import Misaligned

DEFAULT_TIMINGS = FollowTimings()
"""One object for all followers, because a thousand may run at once."""
STEP_BACK = 3600
"""Seconds by which the first two probes (bounded reads during a silence) may start earlier than usual, to
find lines that were written after the node's clock was set back."""


class Stop(Enum):
    """Why reading a stream stopped."""

    FINISHED = auto()
    """The container has ended, and no more lines arrive."""
    ENDED = auto()
    """The server ended the stream normally."""
    CUT = auto()
    """The stream broke, or it has to be replaced."""
    SILENT = auto()
    """The stream presumably gets no more data, but stays open until another stream has delivered."""


class LiveReader:
    """Keeps a stream open, and delivers from it, while the container runs."""

    def __init__(self, connection: Connection, deliverer: Deliverer, timings: FollowTimings) -> None:
        self.may_omit_lines = True
        """Whether the last stream may have omitted lines with early times."""
        self.cut_short = True
        """Whether the last stream did not end normally."""
        self._connection = connection
        self._deliverer = deliverer
        self._timings = timings
        self._silent: LogStream | None = None
        """A silent stream that stays open until another stream has delivered."""
        self._further_back = 0
        """Seconds by which the next stream starts earlier than usual."""
        self._empty_ends = 0
        """Consecutive streams that ended normally without a new line."""
        self._reopened_at: int | None = None
        """Position at which the stream was reopened because the relay's file had more."""

    async def run(self, ended: Ended, *, started: bool) -> None:
        try:
            if not started:
                await self._connection.pause(ended)
            while not ended.done():
                stream = await self._connection.dial(follow=True, further_back=self._further_back)
                stop = Stop.CUT if stream is None else await self._follow(stream, ended)
                if stop is Stop.ENDED and stream is not None:
                    await self._connection.pause(ended, at_least=self._pause_after_end(stream))
                elif stop is Stop.CUT:
                    await self._connection.pause(ended)
        finally:
            await self._close_silent()

    def _pause_after_end(self, stream: LogStream) -> float:
        """The pause after a stream ended normally. It grows while streams end without a new line."""
        self._empty_ends = 0 if stream.brought_new else self._empty_ends + 1
        timings = self._timings
        return min(timings.end_pause * timings.end_pause_growth**self._empty_ends, timings.end_pause_cap)

    async def _follow(self, stream: LogStream, ended: Ended) -> Stop:
        """Read one stream as long as it is useful, then close it, unless it is only silent."""
        stop, self.may_omit_lines, self.cut_short = Stop.CUT, True, True
        try:
            stop = await self._read_all(stream, ended)
        finally:
            if stop is Stop.SILENT and self._silent is None:
                self._silent = stream
            else:
                await stream.close()
        return stop

    async def _read_all(self, stream: LogStream, ended: Ended) -> Stop:
        probes = 0  # bounded reads during the current silence
        timer = LineTimer(stream, self._connection.budget)
        while True:
            try:
                chunk = await self._next_chunk(stream, ended, self._silence_limit(stream, ended, probes))
            except TimeoutError:
                stop = await self._on_silence(stream, ended, probes)
                if stop:
                    return stop
                probes += 1
                continue
            except LogBroken as broken:
                await self._connection.report_reconnect(str(broken))
                return Stop.CUT
            if not chunk:
                self.may_omit_lines, self.cut_short = stream.may_omit_lines, stream.ends_with_error_text
                if stream.ends_with_error_text:
                    await self._deliverer.sink.report_unstamped(stream.partial_line)
                    return Stop.CUT
                return Stop.ENDED
            if not await self._take(stream, chunk) or (ended.done() and timer.is_over(chunk)):
                return Stop.CUT
            probes = 0

    async def _next_chunk(self, stream: LogStream, ended: Ended, limit: float) -> bytes:
        """Return the next bytes.

        Raises `TimeoutError`, or `LogBroken`: the stream broke, or it stays silent although the relay's
        file has more.
        """
        early, linger = self._timings.file_check_after, self._timings.linger
        backfill = self._deliverer.backfill
        if backfill is None or limit <= early:
            return await self._connection.read(stream, limit)
        with suppress(TimeoutError):
            return await self._connection.read(stream, early)
        position = self._deliverer.counts.position
        # once per position: the log may never get what the file has
        stuck = not ended.done() and position != self._reopened_at and await backfill.is_ahead()
        if ended.done():  # `shorten_timeout` does not reach a read that starts only now
            raise TimeoutError
        if not stuck:
            return await self._connection.read(stream, limit - early)
        with suppress(TimeoutError):  # what was written just now may be on its way
            return await self._connection.read(stream, linger)
        if ended.done():
            raise TimeoutError
        self._reopened_at = position
        raise LogBroken(f"no bytes for {early + linger:.0f} s although the agent wrote more")

    async def _take(self, stream: LogStream, chunk: bytes) -> bool:
        """Deliver a chunk. False: the response differs from what was delivered before."""
        try:
            await self._connection.take(stream, chunk)
        except Misaligned:
            self._connection.force_rescan()
            return False
        await self._close_silent()
        if stream.brought_new:
            self._further_back = 0
        return True

    def _silence_limit(self, stream: LogStream, ended: Ended, probes: int) -> float:
        """Seconds of silence after which `_on_silence` is called for this stream."""
        if ended.done():
            return self._timings.linger
        if not stream.replay.done:
            return self._timings.replay_timeout
        if self._deliverer.saw_bookmark:
            return self._timings.silence_timeout
        return self._timings.probe_every if probes else self._timings.probe_after

    async def _on_silence(self, stream: LogStream, ended: Ended, probes: int) -> Stop | None:
        """Decide what to do about a silent stream. None: keep reading it."""
        if ended.done():
            return Stop.FINISHED
        if not stream.replay.done:
            self._connection.force_rescan()
            return Stop.CUT
        if self._deliverer.saw_bookmark:
            # if the node's clock was set back, a request for later lines does not return the new ones
            self._further_back = ENTIRE_LOG if stream.may_start_too_late else 0
            limit = self._timings.silence_timeout
            await self._connection.report_reconnect(f"no bytes for {limit:.0f} s, not even a bookmark")
            return Stop.SILENT
        step_back = (probes == 0 and stream.may_start_too_late) or (probes == 1 and stream.may_omit_lines)
        read = await self._connection.read_through(STEP_BACK if step_back else 0)
        if not read.new:
            return None
        await self._connection.report_reconnect("the stream missed lines that a second read returned")
        return Stop.CUT

    async def _close_silent(self) -> None:
        silent, self._silent = self._silent, None
        if silent:
            await silent.close()


class Follower:
    """Follows one container's log to its end. `run` may be called once."""

    def __init__(
        self,
        source: LogSource,
        sink: LogSink,
        source_info: SourceInfo | None = None,
        *,
        timings: FollowTimings = DEFAULT_TIMINGS,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        info = self._source_info = source_info or SourceInfo()
        self._timings = timings
        self._budget = ReadBudget(timings)
        self._deliverer = Deliverer(sink, info.nonce, info.relay_file)
        dialer = Dialer(
            source,
            self._deliverer.position,
            rate_limiter or RateLimiter(),
            nonce=info.nonce,
            budget=self._budget,
        )
        self._connection = Connection(dialer, self._deliverer, info, timings)

    @property
    def line_time(self) -> int:
        """Time of the lines that the sink gets now, exact to the second; nanoseconds since 1970."""
        return self._deliverer.time

    def retry_now(self) -> None:
        """End a pause: the container has started, or there is another reason to try again now."""
        self._connection.pauses.end_pause()

    def limit_relay_file(self, seconds: float) -> None:
        """Search and read the relay's file for at most `seconds` from now on."""
        if self._deliverer.backfill is not None:
            self._deliverer.backfill.reader.limit(seconds)

    def shorten_rest(self) -> None:
        """The run was stopped: after the container's end, wait only a short time for the rest of the log."""
        self._budget.shorten()

    async def run(self, ended: Ended) -> LogReport:
        """Deliver the log until `ended` is done and everything that the server has was read.

        Raises only for a bug: refused requests and broken connections are retried. An error of the sink is
        logged and counted, and `complete` is then False in the report.
        """
        live = LiveReader(self._connection, self._deliverer, self._timings)
        completion = Completion(self._connection, self._deliverer, self._source_info, self._timings)
        ended.add_done_callback(self._budget.begin)
        ended.add_done_callback(self._connection.shorten_timeout)
        try:
            await live.run(ended, started=self._source_info.started)
            await completion.run(may_omit_lines=live.may_omit_lines, cut_short=live.cut_short)
        finally:
            ended.remove_done_callback(self._connection.shorten_timeout)
            ended.remove_done_callback(self._budget.begin)
        return completion.report()
