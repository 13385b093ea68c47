"""The one pass over what is new: to the sink in order, entered in the books and in the trail."""

import json
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Protocol

from paperclip_claude_k8s.podlog.counts import Ledger
from paperclip_claude_k8s.podlog.follow_options import SourceInfo
from paperclip_claude_k8s.podlog.log_lines import Run
from paperclip_claude_k8s.podlog.log_report import Gap, Notice, NotLogText, SinkFailed
from paperclip_claude_k8s.podlog.marks import Bookmark, Marks, Part, Stderr, Stdout
from paperclip_claude_k8s.podlog.position import Position
from paperclip_claude_k8s.podlog.sink import LogSink

ENDING = 256
"""Bytes kept of what was delivered last, to find the place in the relay's file again."""
QUOTED = 500
"""Bytes quoted of text that is no log."""
_log = logging.getLogger("paperclip_claude_k8s")


class Restorer(Protocol):
    """Knows what the log lost; `mending.Mender`, which delivers through us, has it from the relay's file."""

    async def fill_to(self, counts: Bookmark, since: int | None, until: int | None) -> bool:
        """Deliver what was lost of what the relay had written by now."""
        ...

    async def catch_up(self, block: bytes, until: int) -> bytes:
        """Deliver what was lost before or between these lines; returns those that are left to deliver."""
        ...

    def trust(self) -> None:
        """The count of what was delivered has been set right."""
        ...


class Delivery:
    """Hands lines to the sink, and counts what was handed on.

    A sink that raises does not end the reading: what comes next would be lost too. But it is a bug of ours
    (what a host's callback raises is borne before), and so it is loud: logged with its traceback, told as a
    notice, counted, and the report of such a log never says that it is complete.

    A call of the sink that is cancelled counts as not made: trail and ledger then stand before what it was to
    take, and whoever goes on from there tells that again, and nothing else.
    """

    def __init__(self, sink: LogSink, origin: SourceInfo) -> None:
        stored = origin.cursor
        self.trail = Position.restore(stored) if stored else Position()
        self.ledger = Ledger(stored.bytes, stored.lines, stored.missing) if stored else Ledger()
        self.marks = Marks(origin.nonce)
        self.bookmarked = False
        self.restorer: Restorer | None = None
        """None where the relay's file cannot be reached."""
        self.ending = b""
        self.event_lines = True
        self.sink_failures = 0
        self.first_sink_error: Exception | None = None
        self._sink = sink
        self._last_stray = b""
        self._passed = 0
        """Lines of the run under way that are dealt with."""

    async def accept(self, run: Run) -> None:
        """Deliver lines that are new."""
        self._passed = 0
        try:
            await self._take(run)
        except BaseException:  # cancelled
            if self._passed:
                self.trail.add(run.before(self._passed))
            raise
        self.trail.add(run)

    async def _take(self, run: Run) -> None:
        if run.dropped:
            gap = self.ledger.lose(Gap(self.trail.last_time, run.first().time, run.dropped, 1))
            self.pass_by(1)
            await self._lost(gap)
        elif self.marks.none_in(run.text):
            await self.logged(run.text, run.count, run.first().time)
        else:
            for part in self.marks.parts(run.text):
                await self._part(part, run)

    def pass_by(self, lines: int) -> None:
        """So many more lines of the log are dealt with: handed on, or had from the relay's file."""
        self._passed += lines

    async def logged(self, block: bytes, lines: int, time: int) -> None:
        """Deliver lines of the log, after those that it left out before them."""
        if self.restorer is not None:
            rest = await self.restorer.catch_up(block, time)
            lines -= block.count(b"\n", 0, len(block) - len(rest))
            block = rest
        if block:
            await self.stdout(block, lines)
            self.pass_by(lines)

    async def stdout(self, block: bytes, lines: int) -> None:
        """Deliver lines of stdout, from wherever they were had."""
        await self._hand_on(self._sink.stdout(block))
        self.ledger.add(block, lines)
        self.ending = (self.ending + block[-ENDING:])[-ENDING:]
        self.event_lines = block.startswith(b"{")

    def is_torn(self, line: bytes) -> bool:
        """Whether this can be a part of a line only: among events, text that is none."""
        return self.event_lines and not _is_event(line)

    async def stray(self, text: bytes) -> None:
        """Report text of an answer that no container wrote, once if it keeps coming."""
        if text != self._last_stray:
            self._last_stray = text
            await self.tell(NotLogText(text[:QUOTED].decode("utf-8", "replace")))

    async def tell(self, notice: Notice | None) -> None:
        if notice is not None:
            await self._hand_on(self._sink.notice(notice))

    async def _lost(self, gap: Gap | None) -> None:
        """Tell a gap; what was delivered last does not stand before what comes next then."""
        if gap is not None:
            self.ending = b""
            await self.tell(gap)

    async def _part(self, part: Part, run: Run) -> None:
        match part:
            case Stdout(block, count):
                await self.logged(block, count, run.first().time)
            case Stderr(block):
                await self._hand_on(self._sink.stderr(block))
                self.pass_by(1)
            case Bookmark():
                self.bookmarked = True
                if self.ledger.lacks(part) and self.restorer is not None:
                    await self.restorer.fill_to(part, self.trail.last_time, run.first().time)
                await self._lost(self.ledger.check(part, run.first().time))
                if self.restorer is not None:
                    self.restorer.trust()
                self.pass_by(1)

    async def _hand_on(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001  # a bug of the sink: loud, and no reason to lose the rest
            self.sink_failures += 1
            if self.first_sink_error is None:
                self.first_sink_error = error
                _log.error("A bug in the adapter: output was not taken; the reading goes on", exc_info=error)
                await self.tell(SinkFailed(error))


def _is_event(line: bytes) -> bool:
    """Whether this is a whole JSON object; no end of one is."""
    with suppress(ValueError, RecursionError):
        return line.startswith(b"{") and isinstance(json.loads(line), dict)
    return False
