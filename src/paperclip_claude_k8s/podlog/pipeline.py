"""From an open stream to the sink. Only this module decides the order in which output is delivered.

What happens to a chunk of the log:

    Pipeline.take            its new lines, in batches
      Pipeline._after_gap    only after lines were lost: fill the gap from the relay's file, or record it
      Deliverer.deliver_batch      split into stdout, stderr and bookmarks
        Deliverer.stdout     with a relay file, first what the log omitted before these lines
          CountedSink.stdout the sink, then counts and digest
        Position.add         the batch is done

`backfill` only finds missing output. Calls go down this list and never back up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

from paperclip_claude_k8s.podlog.backfill import Backfill
from paperclip_claude_k8s.podlog.counts import Counts
from paperclip_claude_k8s.podlog.interfaces import LogSink, RelayFile
from paperclip_claude_k8s.podlog.log_lines import LineBatch, UnstampedText, batch_of, first_line
from paperclip_claude_k8s.podlog.log_report import Gap, GapFilled, Notice, NotLogText, SinkFailed, Totals
from paperclip_claude_k8s.podlog.log_stream import LogStream
from paperclip_claude_k8s.podlog.marks import Bookmark, Marks, Part, Stderr, Stdout
from paperclip_claude_k8s.podlog.position import Position

KUBELET_ERROR = b"unable to retrieve container logs for "
"""Start of the message that the kubelet inserts, without a newline, when it no longer finds a log."""
QUOTED_BYTES = 500
"""Longest quotation of text that is not a log line."""
OMISSIONS_PER_BLOCK = 30
"""Points of one block at which the file may have more than the log. A log omits lines where it is rotated,
every 10 MiB or so, and a block is smaller. With more of them, an agent has changed the file."""
MAX_UNSTAMPED = 100
"""Largest number of texts without timestamps that are reported. A kubelet inserts one for each failure."""
ITEMS_AT_A_TIME = 100
"""After this many items of a chunk, other tasks have their turn. An item is a batch of lines of one second,
and a server may give each line a second of its own."""
_log = logging.getLogger(__name__)


class CountedSink:
    """Calls the sink, and counts what was passed to it.

    A sink that raises does not stop the reading, because the lines that follow would be lost too. It is a bug
    (exceptions of the host's callbacks are handled before they get here), so it is logged with its traceback,
    reported as a notice and counted, and the report of such a log never says that it is complete.
    """

    def __init__(self, sink: LogSink) -> None:
        self.counts = Counts()
        self.filled = 0
        """Bytes that `fill` delivered."""
        self.failures = 0
        self.first_error: Exception | None = None
        self._sink = sink
        self._last_unstamped = b""
        self._unstamped = 0
        """Number of texts that `report_unstamped` has reported."""

    async def stdout(self, block: bytes, lines: int) -> None:
        await self._call(self._sink.stdout(block))
        self.counts.add(block, lines)

    async def stderr(self, block: bytes) -> None:
        await self._call(self._sink.stderr(block))

    async def fill(self, blocks: AsyncIterator[bytes], since: int | None, until: int | None) -> int:
        """Deliver blocks of the relay's file, reported as one filled gap. Returns their size in bytes."""
        filled, lines = 0, self.counts.lines
        async for block in blocks:
            await self.stdout(block, block.count(b"\n") + (not block.endswith(b"\n")))
            filled += len(block)
        self.filled += filled
        if filled:
            await self.notify(GapFilled(since, until, filled, self.counts.lines - lines))
        return filled

    async def report_gap(self, gap: Gap | None) -> None:
        """Report a gap before the next line, and forget the ending: that line does not follow it directly."""
        if gap is not None:
            self.counts.ending = b""
            await self.notify(gap)

    async def report_unstamped(self, text: bytes) -> None:
        """Report text that no container wrote, unless it repeats the last one, or there were too many."""
        if text != self._last_unstamped and self._unstamped < MAX_UNSTAMPED:
            self._last_unstamped = text
            self._unstamped += 1
            await self.notify(NotLogText(text[:QUOTED_BYTES].decode("utf-8", "replace")))

    async def notify(self, notice: Notice | None) -> None:
        if notice is not None:
            await self._call(self._sink.notice(notice))

    async def _call(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001  # a bug of the sink: report it, and go on with the rest
            self.failures += 1
            if self.first_error is None:
                self.first_error = error
                _log.error("Bug in the adapter: a log sink raised; reading continues", exc_info=error)
                await self.notify(SinkFailed(error))


class Deliverer:
    """Delivers batches of new lines, each preceded by what the log omitted before it."""

    def __init__(self, sink: LogSink, nonce: str | None, relay_file: RelayFile | None) -> None:
        """`nonce`: None if there is no relay. `relay_file`: None if it cannot be reached."""
        self.sink = CountedSink(sink)
        self.counts = self.sink.counts
        self.position = Position()
        self.marks = Marks(nonce)
        self.backfill = Backfill(self.counts, relay_file) if relay_file else None
        self.saw_bookmark = False
        self.time = 0
        """Time of the lines that are being delivered, exact to the second; nanoseconds since 1970."""

    async def deliver_batch(self, batch: LineBatch) -> None:
        time = self.time = batch.first().time
        if batch.dropped:
            gap = self.counts.add_gap(Gap(self.position.last_time, time, batch.dropped, 1))
            await self.sink.report_gap(gap)
        elif self.marks.none_in(batch.text):
            await self.stdout(batch.text, batch.count, time)
        else:
            await self._parts(batch.text, time)
        self.position.add(batch)

    async def _parts(self, text: bytes, time: int) -> None:
        for part in self.marks.parts(text):
            await self._part(part, time)

    async def _part(self, part: Part, time: int) -> None:
        match part:
            case Stdout(block, count):
                await self.stdout(block, count, time)
            case Stderr(block):
                await self.sink.stderr(block)
            case Bookmark():
                self.saw_bookmark = True
                if self.counts.is_behind(part):
                    await self.fill_to_bookmark(part, self.position.last_time, time)
                await self.sink.report_gap(self.counts.check(part, time))
                if self.backfill:
                    self.backfill.resume_comparing()

    async def stdout(self, block: bytes, lines: int, time: int) -> None:
        """Deliver lines of the log, and from the relay's file the lines that the log omitted before them."""
        if self.backfill:
            rest = await self._fill_omissions(self.backfill, block, time)
            lines -= block.count(b"\n", 0, len(block) - len(rest))
            block = rest
        if block:
            await self.sink.stdout(block, lines)

    async def _fill_omissions(self, backfill: Backfill, block: bytes, time: int) -> bytes:
        """Deliver the lines up to the last omission, and what was omitted. Returns the remaining lines."""
        for _ in range(OMISSIONS_PER_BLOCK):
            omission = await backfill.first_omission(block) if block else None
            if omission is None:
                return block
            before, block = block[: omission.at], block[omission.at :]
            if before:
                await self.sink.stdout(before, before.count(b"\n"))
            match = omission.match
            since = self.position.last_time
            if not await self.fill_to(match.offset, lines=None, since=since, until=time):
                backfill.stop_comparing()
            elif not match.is_line_start:  # the file had the whole line, the log only its end
                block = block[len(first_line(block)) :]
        backfill.stop_comparing()
        return block

    async def fill_to_bookmark(self, bookmark: Bookmark, since: int | None, until: int) -> None:
        await self.fill_to(bookmark.bytes, self.counts.lines_until(bookmark), since, until)

    async def fill_to(self, stop: int, lines: int | None, since: int | None, until: int) -> bool:
        """Deliver the relay's file up to offset `stop`. False if the file does not have all of that part.

        `lines`: the number of newlines in that part; None if unknown.
        """
        start = self.counts.position
        blocks = await self.backfill.missing_until(stop, lines) if self.backfill else None
        if blocks is None or start is None:
            return False
        return await self.sink.fill(blocks, since, until) == stop - start


class Pipeline:
    """Delivers the new lines of one stream after the other, in the order in which they were written."""

    def __init__(self, deliverer: Deliverer, *, has_relay: bool) -> None:
        self._deliverer = deliverer
        self._position = deliverer.position
        self._has_relay = has_relay
        self._stream: LogStream | None = None
        self._gap_stream: LogStream | None = None
        """The last stream whose first line was found to follow a gap."""
        self._in_gap = False
        """Lines may be lost, and it is not known yet how many."""
        self._gap_since: int | None = None
        """Time of the last line before those that may be lost."""

    def begin(self, stream: LogStream) -> None:
        """Continue with another stream. Its plan shows whether lines were lost before its first new line."""
        self._stream = stream

    async def take(self, stream: LogStream, chunk: bytes) -> None:
        """Deliver what is new in the chunk. Raises `Misaligned` before it delivers anything wrong."""
        for number, item in enumerate(stream.new_lines(chunk), 1):
            if number % ITEMS_AT_A_TIME == 0:
                await asyncio.sleep(0)
            if isinstance(item, UnstampedText):
                await self._deliverer.sink.report_unstamped(item.text)
            elif (rest := await self._after_gap(stream, item)) is not None:
                await self._deliverer.deliver_batch(rest)

    async def take_last_line(self, partial_line: bytes) -> None:
        """Deliver the last line of a log without a final newline. Nothing may follow it in the log."""
        log, error, rest = partial_line.partition(KUBELET_ERROR)
        if error:
            await self._deliverer.sink.report_unstamped(error + rest)
        last = batch_of(log) if log else None
        if isinstance(last, UnstampedText):
            await self._deliverer.sink.report_unstamped(last.text)
        elif last and self._stream and await self._after_gap(self._stream, last):
            text = last.text[:-1]
            if text and self._deliverer.marks.none_in(text):
                await self._deliverer.stdout(text, 1, last.first().time)

    async def finish(self, totals: Totals | None, *, read_all: bool, unread: str = "") -> None:
        """The log has ended: fill its end from the relay's file, and report what is missing.

        `read_all`: the server's log was read to its end. `unread`: as in `Gap`.
        """
        counts, sink, backfill = self._deliverer.counts, self._deliverer.sink, self._deliverer.backfill
        if backfill:
            since, blocks = self._position.last_time, await backfill.missing_at_end(totals)
            if blocks is not None:
                await sink.fill(blocks, since, None)
        if counts.matches(totals):
            return
        stream = self._stream
        lost_after_last = stream is not None and stream is not self._gap_stream and stream.plan.lost
        if not read_all or self._in_gap or lost_after_last:
            complete_until = self._gap_since if self._in_gap else self._position.last_time
            counts.add_possible_gap(complete_until, None)
        gap = counts.check(totals, None) if totals else counts.add_unmeasured_gap()
        await sink.notify(replace(gap, unread=unread) if gap is not None else None)

    async def _after_gap(self, stream: LogStream, batch: LineBatch) -> LineBatch | None:
        """Return the lines to deliver as usual, after the first ones were used to measure a gap, if any."""
        if stream.plan.lost and stream is not self._gap_stream:
            self._gap_stream = stream
            if not self._in_gap:
                self._in_gap, self._gap_since = True, self._position.last_time
        rest: LineBatch | None = batch
        while rest is not None and self._in_gap:
            rest = await self._first_after_gap(rest)
        return rest

    async def _first_after_gap(self, batch: LineBatch) -> LineBatch | None:
        """Measure or fill the gap by means of the batch's first part; return the lines still to deliver."""
        match next(self._deliverer.marks.parts(batch.text), None):
            case Stdout(block, _):
                self._in_gap = False
                return await self._stdout_after_gap(batch, block)
            case Bookmark() as bookmark:
                self._in_gap = False
                await self._deliverer.fill_to_bookmark(bookmark, self._gap_since, batch.first().time)
                return batch  # delivering the bookmark reports what is still missing
            case _:  # stderr does not show how much of stdout is missing
                await self._deliverer.deliver_batch(batch.only_first())
                return batch.without_first(1)

    async def _stdout_after_gap(self, batch: LineBatch, block: bytes) -> LineBatch | None:
        """Fill the gap before `block`, the lines of stdout that begin the batch, or record it as possible.

        Returns the lines still to deliver: without the first one if it is only the rest of a line, or if that
        line was delivered from the file.
        """
        first, counts, backfill = batch.first(), self._deliverer.counts, self._deliverer.backfill
        if self._position.may_continue_with(first):
            self._position.add(batch.only_first())
            return batch.without_first(1)
        line = first_line(block)
        partial = counts.is_partial(line)
        match = await backfill.find(block, line if partial else None) if backfill else None
        since = self._gap_since
        if match and await self._deliverer.fill_to(match.offset, lines=None, since=since, until=first.time):
            partial = not match.is_line_start
        else:
            counts.add_possible_gap(since, first.time)
            if not self._has_relay:  # no count will follow
                await self._deliverer.sink.notify(counts.add_unmeasured_gap())
        if not partial:
            return batch
        # The first line is part of a line, or was delivered from the file.
        self._position.add(batch.only_first())
        return batch.without_first(1)
