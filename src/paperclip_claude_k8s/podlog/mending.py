"""Filling a gap from the relay's own file, which holds exactly the container's stdout."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from paperclip_claude_k8s.podlog.delivery import Delivery
from paperclip_claude_k8s.podlog.report import GapFilled, Totals
from paperclip_claude_k8s.podlog.sink import GapFiller

PIECE = 256 * 1024
"""Read from the file at once; bounds memory whatever the size of a gap."""
PATTERN = 64 * 1024
"""How much of the text after a gap is looked for in the file; more would not make it more certain."""


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

    async def find(self, block: bytes, rest: bytes | None) -> Place | None:
        """From here on, the place before these lines; or after the line that has this `rest`."""
        found = await self._find(b"\n" + block[:PATTERN])
        if found is not None:
            return Place(found + 1, before=True)
        ending = (rest or b"")[-PATTERN:]
        found = await self._find(ending) if ending else None
        return None if found is None else Place(found + len(ending), before=False)

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

    async def _read(self, start: int, stop: int) -> bytes:
        try:
            return await self._filler.read(start, stop) if stop > start else b""
        except OSError:
            return b""
