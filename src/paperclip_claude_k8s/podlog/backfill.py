"""What the log lost, from the relay's own file, which holds exactly the container's stdout.

Others write on the same volume: the file may be cut, replaced or written to by anybody at any time. So
nothing is delivered from it that is not known to be the agent's: a part of it begins with what was delivered
last, and its end is told by a line of the log, by the relay's count, or by its digest.

A log loses lines at a rotation: while nobody listens, and under a reader too. An old kubelet that looks for
the new file before there is one stays at the old one, for ever or until the next rotation (seen with 1.20,
kubernetes/kubernetes#115701); any may leave out the last lines of the old one. A stream that stays is silent
while the file grows; one that leaves lines out shows nothing, so lines are compared with the file before they
are delivered: later those that are missing could not be put in order any more.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.log_lines import RECORD_BYTES, first_line
from paperclip_claude_k8s.podlog.log_report import GapFilled, Totals
from paperclip_claude_k8s.podlog.marks import Bookmark
from paperclip_claude_k8s.podlog.sink import GapFiller

PIECE = 256 * 1024
"""Read from the file at once; bounds memory whatever the size of a gap."""
PATTERN = 1024 * 1024
"""How much of the text after a gap is looked for in the file; more would not make it more certain."""
FILE_TRIES = 3
"""The relay writes the file before the log where it can, but a network volume may show it late."""
FILE_PAUSE = 0.5
"""Seconds between two looks at a file that does not show yet what the log has shown."""
PATIENCE = 10.0
"""Longest wait for one piece of the file, seconds."""
LOOK = 3.0
"""Longest time for which lines wait while the file is compared with them, seconds."""
SLOW = 0.25
"""A file that takes longer to show a few lines is not worth waiting for each time; seconds."""
REST = 60.0
"""Seconds for which nothing is compared with a file that could not be read, or was slow."""
HOLE = b"\0"
"""What a file has where nothing was written: one that was cut and went on. Events have no such byte."""
SOON = 1.0
"""Seconds for which nothing is compared with a file that is not there: the relay may still be making it."""
DIFFERS = "it does not fit the log"
TOO_SHORT = "it ends before the output does"
LATE = "it could not be read in time"


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where the file is to be delivered."""

    stop: int
    before: bool
    """Whether that is before the line that came, or after it."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Where the log left something out between two lines of a block, or before the first."""

    at: int
    """Bytes of the block in front of it."""
    place: Place


class Backfill:
    """Delivers from the file what the log lost, beginning where the delivery stands."""

    def __init__(self, delivery: Delivery, filler: GapFiller) -> None:
        self._delivery = delivery
        self._filler = filler
        self._trusted = True
        self._rests_until = float("-inf")
        self._hangs = False
        self._refusal: str | None = None
        self._doubt: str | None = None

    async def trouble(self, totals: Totals | None) -> str | None:
        """Why the file is of no use at the end of the log; None: it is, or the relay knows that it is not.

        Where the log is whole the file is looked at once more: nobody may have had to read it for long.
        """
        if totals is not None and (totals.kept is None or totals.kept < totals.bytes):
            return None
        if totals is None or self._hangs or self._delivery.ledger.bytes != totals.bytes:
            return self._refusal or self._doubt
        ending = self._delivery.ending
        start, one_more = totals.bytes - len(ending), totals.bytes + (totals.kept == totals.bytes)
        for attempt in range(FILE_TRIES):
            if attempt:
                await asyncio.sleep(FILE_PAUSE)
            seen = await self._read(start, one_more, LOOK)
            if seen == ending or self._refusal:
                return self._refusal
        return DIFFERS if len(seen) >= len(ending) else TOO_SHORT

    async def catch_up(self, block: bytes, until: int) -> bytes:
        """Deliver what the log left out before or between these lines, which come next.

        Returns those that are left to deliver: a line of which the log had but a part came from the file.
        A file that does not show them yet, or cannot be read in time, says nothing. `until`: their time.
        """
        while block and (hole := await self._hole_in(block)):
            if hole.at:
                lines = block.count(b"\n", 0, hole.at)
                await self._delivery.stdout(block[: hole.at], lines)
                self._delivery.pass_by(lines)
            block = block[hole.at :]
            if not await self.fill(hole.place.stop, self._delivery.trail.last_time, until):
                self._distrust()
            elif not hole.place.before:
                self._delivery.pass_by(1)
                block = block[len(first_line(block)) :]
        return block

    def trust(self) -> None:
        """The relay's count was compared: we know again where in its file the next line belongs."""
        self._trusted = True

    async def is_ahead(self) -> bool:
        """Whether the file has lines that the log did not bring."""
        start = self._comparable()
        piece = b"" if start is None else await self._read(start, start + PIECE, LOOK)
        return b"\n" in piece or len(piece) == PIECE

    async def _hole_in(self, block: bytes) -> Hole | None:
        """The first place where the file has something else than the block."""
        start = self._comparable()
        if start is None:
            return None
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            # what was rotated away before a run was adopted may be long, and its first lines can wait
            async with asyncio.timeout(LOOK if self._delivery.ledger.bytes else None):
                seen = await self._read(start, start + len(block), LOOK)
                if clock() - began > SLOW:
                    self._rest()
                if block.startswith(seen):
                    return None
                hole = await self._compare(block, seen, start)
                if hole is not None:
                    return hole
        except TimeoutError:
            self._rest()
        self._distrust()
        return None

    async def _compare(self, block: bytes, seen: bytes, start: int) -> Hole | None:
        """Find in the file what follows a hole; `seen` is what it has at `start` instead of the block."""
        at = _common(block, seen)
        line = first_line(block[at:])
        rest = _unlike_records(line, seen[at:])
        torn = len(rest) < len(line) or self._delivery.is_torn(line)
        place = await self.find(line, rest if torn else None, start + at)
        return Hole(at, place) if place and place.stop > start + at else None

    def _distrust(self) -> None:
        """Log and file differ: our place in it is lost, or a runtime stores other bytes than were written."""
        self._trusted = self._trusted and self._rests  # a file that could not be read proves nothing

    @property
    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._rests_until

    def _rest(self, seconds: float = REST) -> None:
        self._rests_until = asyncio.get_running_loop().time() + seconds

    def _comparable(self) -> int | None:
        """Where in the file the next line belongs; None when a look at it would tell nothing."""
        return self._delivery.ledger.position if self._trusted and not self._rests else None

    async def find(self, text: bytes, rest: bytes | None, start: int | None = None) -> Place | None:
        """The place before this text, or after the line that ends so; from `start`, or our own place, on."""
        start = self._delivery.ledger.position if start is None else start
        if start is None:
            return None
        wanted = [(b"\n" + text[:PATTERN], 1, True)]
        if rest:
            ending = rest[-PATTERN:]
            wanted.append((ending, len(ending), False))
        for attempt in range(FILE_TRIES):
            if attempt:
                await asyncio.sleep(FILE_PAUSE)
            for pattern, beyond, before in wanted:
                found = await self._find(pattern, start)
                if found is not None:
                    return Place(found + beyond, before)
                if self._rests:
                    return None
        return None

    async def _find(self, pattern: bytes, start: int) -> int | None:
        """The first place of the pattern in the file, from the byte before `start` on."""
        at, window = start, b"\n"
        while piece := await self._read(at, at + PIECE):
            window += piece
            at += len(piece)
            found = window.find(pattern)
            if found >= 0:
                return at - len(window) + found
            window = window[-len(pattern) :]
        return None

    async def fill(self, stop: int, since: int | None, until: int | None) -> bool:
        """Deliver everything up to `stop`, where the log goes on. False when that could not be had."""
        return await self._fill(stop, None, since, until)

    async def fill_to(self, counts: Bookmark | Totals, since: int | None, until: int | None) -> bool:
        """Deliver everything up to a place that the relay counted. False when that could not be had."""
        return await self._fill(counts.bytes, self._delivery.ledger.lines_until(counts), since, until)

    async def _fill(self, stop: int, lines: int | None, since: int | None, until: int | None) -> bool:
        start = self._delivery.ledger.position
        if start is None or stop < start or not await self._follows(start):
            return False
        if not await self._is_sound(start, stop, lines):
            return False
        return await self._deliver(self._blocks(start, stop), since, until) == stop - start

    async def _deliver(self, blocks: AsyncIterator[bytes], since: int | None, until: int | None) -> int:
        """Bytes delivered, which are told as one gap."""
        ledger = self._delivery.ledger
        filled, lines = 0, ledger.lines
        async for block in blocks:
            await self._delivery.stdout(block, block.count(b"\n") + (not block.endswith(b"\n")))
            filled += len(block)
        if filled:
            await self._delivery.tell(GapFilled(since, until, filled, ledger.lines - lines))
        return filled

    async def _is_sound(self, start: int, stop: int, lines: int | None) -> bool:
        """Whether the file has all of this, without a hole, and as many lines as were counted."""
        at, seen = start, 0
        while piece := await self._read(at, min(at + PIECE, stop)):
            at += len(piece)
            seen += piece.count(b"\n")
            if HOLE in piece:
                break
        if at == stop and lines in (None, seen) and HOLE not in piece:
            return True
        self._doubt = self._doubt or DIFFERS
        return False

    async def finish(self, totals: Totals | None) -> None:
        """Deliver the end of the log from the file, up to what the relay counted or all there is.

        With totals it is done only if it makes the log what was counted: what is missing may not be the end.
        Without, or where the relay kept a part of it, what comes is what can pass for the agent's.
        """
        ledger, since = self._delivery.ledger, self._delivery.trail.last_time
        start, digest = ledger.position, ledger.fork_digest()
        if start is None:
            return
        kept = totals.kept if totals else None
        if totals is None or (kept is not None and kept < totals.bytes):
            if (kept is None or kept > start) and await self._follows(start):
                await self._deliver(self._credible(start, kept), since, None)
        elif not totals.sha256 or digest is None or ledger.missing:
            await self.fill_to(totals, since, None)
        elif await self._makes(digest, start, totals):
            await self._deliver(self._blocks(start, totals.bytes), since, None)

    async def _makes(self, digest: "hashlib._Hash", start: int, totals: Totals) -> bool:
        """Whether the log becomes what the relay counted with the rest of the file."""
        async for block in self._blocks(start, totals.bytes):
            digest.update(block)
        if digest.hexdigest() == totals.sha256:
            return True
        self._doubt = self._doubt or DIFFERS
        return False

    async def _credible(self, start: int, stop: int | None) -> AsyncIterator[bytes]:
        """The file up to the first line that cannot be the agent's: no event after events, or a hole."""
        events = self._delivery.event_lines if self._delivery.ledger.bytes else None
        async for block in self._blocks(start, stop):
            events = block.startswith(b"{") if events is None else events
            sound = _sound_lines(block, events=events)
            if sound:
                yield sound
            if len(sound) < len(block):
                self._doubt = self._doubt or DIFFERS
                return

    async def _blocks(self, start: int, stop: int | None) -> AsyncIterator[bytes]:
        """The file from `start` to `stop`, or its end, in blocks of whole lines; the last may be torn."""
        at, rest = start, b""
        while piece := await self._read(at, at + PIECE if stop is None else min(at + PIECE, stop)):
            at += len(piece)
            block, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield block + newline
        if rest and stop in (None, at):
            yield rest

    async def _follows(self, start: int) -> bool:
        """Whether the file has what was delivered last in front of `start`: we count the same bytes."""
        ending = self._delivery.ending
        return start >= len(ending) and await self._read(start - len(ending), start) == ending

    async def _read(self, start: int, stop: int, patience: float = PATIENCE) -> bytes:
        """What the file has of that; nothing where it cannot be read, or not in time."""
        try:
            async with asyncio.timeout(patience):
                piece = await self._filler.read(start, stop) if stop > start else b""
        except TimeoutError:
            self._refuse(LATE, REST)
        except FileNotFoundError as error:  # it may be there soon
            self._refuse(error.strerror or str(error), SOON)
        except OSError as error:
            self._refuse(error.strerror or str(error), REST)
        else:
            self._hangs, self._refusal = False, None
            return piece
        return b""

    def _refuse(self, why: str, rest: float) -> None:
        self._hangs, self._refusal = why == LATE, why
        self._rest(rest)


def _sound_lines(block: bytes, *, events: bool) -> bytes:
    """The lines of the block before the first that has a hole, or is no event where events are expected."""
    size = 0
    for line in block.splitlines(keepends=True):
        if HOLE in line or (events and not _looks_like_an_event(line)):
            break
        size += len(line)
    return block[:size]


def _looks_like_an_event(line: bytes) -> bool:
    """Also one that was torn when the agent ended."""
    return line.startswith(b"{") and line.endswith((b"}\n", b"}\r\n") if line.endswith(b"\n") else b"")


def _common(block: bytes, seen: bytes) -> int:
    """How many bytes of whole lines both begin with."""
    size = 0
    for line, other in zip(block.split(b"\n")[:-1], seen.split(b"\n")[:-1], strict=False):
        if line != other:
            break
        size += len(line) + 1
    return size


def _unlike_records(line: bytes, seen: bytes) -> bytes:
    """What of a line follows the records that it has in common with the file: it has lost some between."""
    at = 0
    while at < len(line) and line[at : at + RECORD_BYTES] == seen[at : at + RECORD_BYTES]:
        at += RECORD_BYTES
    return line[at:]
