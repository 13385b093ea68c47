"""What the log lost, from the relay's own file, which holds exactly the container's stdout.

A log loses lines at a rotation: while nobody listens, and under a reader too. An old kubelet that looks for
the new file before there is one stays at the old one, for ever or until the next rotation (seen with 1.20,
kubernetes/kubernetes#115701); any may leave out the last lines of the old one. A stream that stays is silent
while the file grows; one that leaves lines out shows nothing, so lines are compared with the file before they
are delivered: later those that are missing could not be put in order any more.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from paperclip_claude_k8s.podlog.delivery import Delivery
from paperclip_claude_k8s.podlog.report import GapFilled, Totals
from paperclip_claude_k8s.podlog.sink import GapFiller

PIECE = 256 * 1024
"""Read from the file at once; bounds memory whatever the size of a gap."""
PATTERN = 64 * 1024
"""How much of the text after a gap is looked for in the file; more would not make it more certain."""
FILE_TRIES = 3
"""The relay writes the file before the log, but a network volume may show it late."""
FILE_PAUSE = 0.5
"""Seconds between two looks at a file that does not show yet what the log has shown."""
PATIENCE = 10.0
"""Longest wait for a piece of the file, seconds: a volume that hangs must not hold up the log."""
GLANCE = 1.0
"""The same while lines wait to be delivered."""
REST = 60.0
"""Seconds for which no line waits for a volume that was too slow."""


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where the file is to be delivered."""

    stop: int
    before: bool
    """Whether that is before the line that came, or after it."""


class Mender:
    """Delivers from the file what the log lost, beginning where the delivery stands."""

    def __init__(self, delivery: Delivery, filler: GapFiller) -> None:
        self._delivery = delivery
        self._filler = filler
        self._matches = True
        """Whether log and file were the same so far; a runtime may store other bytes than were written."""
        self._rests_until = float("-inf")
        self._ahead_at: int | None = None

    async def catch_up(self, block: bytes, until: int) -> bytes:
        """Deliver what the log left out before or between these lines, which come next; the rest is returned.

        `until`: their time. A file that does not show them yet, or not in time, says nothing.
        """
        while (agreed := await self._agreed(block)) < len(block):
            if agreed:
                await self._delivery.stdout(block[:agreed], block.count(b"\n", 0, agreed))
                block = block[agreed:]
            place = await self.find(block[: block.find(b"\n") + 1] or block, None)
            if place is None or place.stop == self._delivery.ledger.position:
                self._matches = False
            else:
                self._matches = await self.fill(place.stop, self._delivery.trail.last_time, until)
        return block

    async def _agreed(self, block: bytes) -> int:
        """How many bytes at the block's beginning stand in the file where they belong: whole lines."""
        start = self._comparable()
        if start is None:
            return len(block)
        seen = await self._read(start, start + len(block), GLANCE)
        if block.startswith(seen):
            return len(block)
        self._matches = await self._follows(start)
        return _common(block, seen) if self._matches else len(block)

    async def is_ahead(self) -> bool:
        """Whether the file has lines that the log did not bring; true but once at each place."""
        start = self._comparable()
        if start in (None, self._ahead_at) or b"\n" not in await self._read(start, start + PIECE, GLANCE):
            return False
        self._ahead_at = start
        return True

    def _comparable(self) -> int | None:
        """Where in the file the next line belongs; None when a look at it would tell nothing."""
        rests = asyncio.get_running_loop().time() < self._rests_until
        return self._delivery.ledger.position if self._matches and not rests else None

    async def find(self, block: bytes, rest: bytes | None) -> Place | None:
        """From here on, the place before these lines; or after the line that has this `rest`."""
        for _ in range(FILE_TRIES):
            found = await self._find(b"\n" + block[:PATTERN])
            if found is not None:
                return Place(found + 1, before=True)
            ending = (rest or b"")[-PATTERN:]
            found = await self._find(ending) if ending else None
            if found is not None:
                return Place(found + len(ending), before=False)
            await asyncio.sleep(FILE_PAUSE)
        return None

    async def _find(self, pattern: bytes) -> int | None:
        """The first place of the pattern in the file, from the byte before our position on."""
        at, window = self._delivery.ledger.position, b"\n"
        while at is not None and (piece := await self._read(at, at + PIECE)):
            window += piece
            at += len(piece)
            found = window.find(pattern)
            if found >= 0:
                return at - len(window) + found
            window = window[-len(pattern) :]
        return None

    async def fill(self, stop: int | None, since: int | None, until: int | None) -> bool:
        """Deliver everything up to `stop` or the file's end. False when the file does not reach so far."""
        ledger = self._delivery.ledger
        start, lines = ledger.position, ledger.lines
        if start is None or (stop is not None and stop < start) or not await self._follows(start):
            return False
        async for block in self._blocks(start, stop):
            await self._delivery.stdout(block, block.count(b"\n") + (not block.endswith(b"\n")))
        filled = (ledger.position or start) - start
        if filled:
            await self._delivery.tell(GapFilled(since, until, filled, ledger.lines - lines))
        return stop is None or start + filled == stop

    async def finish(self, totals: Totals | None) -> None:
        """Deliver the end of the log from the file, up to what the relay counted or all there is.

        With totals it is done only if it makes the log what was counted: what is missing may not be the end.
        """
        ledger = self._delivery.ledger
        start, digest = ledger.position, ledger.fork_digest()
        if start is None:
            return
        if totals and totals.sha256 and digest is not None and not ledger.missing:
            async for block in self._blocks(start, totals.bytes):
                digest.update(block)
            if digest.hexdigest() != totals.sha256:
                return
        await self.fill(totals.bytes if totals else None, self._delivery.trail.last_time, None)

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
                return await self._filler.read(start, stop) if stop > start else b""
        except TimeoutError:  # ours, or the volume's own
            self._rests_until = asyncio.get_running_loop().time() + REST
        except OSError:
            pass
        return b""


def _common(block: bytes, seen: bytes) -> int:
    """How many bytes of whole lines both begin with."""
    size = 0
    for line, other in zip(block.split(b"\n")[:-1], seen.split(b"\n")[:-1], strict=False):
        if line != other:
            break
        size += len(line) + 1
    return size
