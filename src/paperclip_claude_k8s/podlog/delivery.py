"""The one pass over what is new: to the sink in order, entered in the books and in the trail."""

import json
from collections.abc import Awaitable
from contextlib import suppress
from typing import Protocol

from paperclip_claude_k8s.podlog.cursor import Trail
from paperclip_claude_k8s.podlog.ledger import Ledger
from paperclip_claude_k8s.podlog.marks import Bookmark, Marks, Part, Stderr, Stdout
from paperclip_claude_k8s.podlog.origin import Origin
from paperclip_claude_k8s.podlog.records import Run
from paperclip_claude_k8s.podlog.report import Gap, Notice, NotLogText
from paperclip_claude_k8s.podlog.sink import LogSink

ENDING = 256
"""Bytes kept of what was delivered last, to find the place in the relay's file again."""
QUOTED = 500
"""Bytes quoted of text that is no log."""


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
    """Hands lines to the sink. A sink that raises is counted, never passed on."""

    def __init__(self, sink: LogSink, origin: Origin) -> None:
        stored = origin.cursor
        self.trail = Trail.restore(stored) if stored else Trail()
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

    async def accept(self, run: Run) -> None:
        """Deliver lines that are new."""
        if run.dropped:
            await self._lost(self.ledger.lose(Gap(self.trail.last_time, run.first().time, run.dropped, 1)))
        elif self.marks.none_in(run.text):
            await self.logged(run.text, run.count, run.first().time)
        else:
            for part in self.marks.parts(run.text):
                await self._part(part, run)
        self.trail.add(run)

    async def logged(self, block: bytes, lines: int, time: int) -> None:
        """Deliver lines of the log, after those that it left out before them."""
        if self.restorer is not None:
            rest = await self.restorer.catch_up(block, time)
            lines -= block.count(b"\n", 0, len(block) - len(rest))
            block = rest
        if block:
            await self.stdout(block, lines)

    async def stdout(self, block: bytes, lines: int) -> None:
        """Deliver lines of stdout, from wherever they were had."""
        self.ledger.add(block, lines)
        self.ending = (self.ending + block[-ENDING:])[-ENDING:]
        self.event_lines = block.startswith(b"{")
        await self._guarded(self._sink.stdout(block))

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
            await self._guarded(self._sink.notice(notice))

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
                await self._guarded(self._sink.stderr(block))
            case Bookmark():
                self.bookmarked = True
                if self.ledger.lacks(part) and self.restorer is not None:
                    await self.restorer.fill_to(part, self.trail.last_time, run.first().time)
                await self._lost(self.ledger.check(part, run.first().time))
                if self.restorer is not None:
                    self.restorer.trust()

    async def _guarded(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - whatever a sink does, the run goes on
            self.sink_failures += 1
            self.first_sink_error = self.first_sink_error or error


def _is_event(line: bytes) -> bool:
    """Whether this is a whole JSON object; no end of one is."""
    with suppress(ValueError, RecursionError):
        return line.startswith(b"{") and isinstance(json.loads(line), dict)
    return False
