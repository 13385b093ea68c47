"""Finds output that the log lacks. The source is the relay's file: it holds exactly the container's stdout.

Other programs write on the same volume: the file may be truncated, replaced or overwritten at any time. So a
part of the file is delivered only if it follows the bytes delivered last. Where that part ends is determined
by a line of the log, by the relay's count, or by the relay's digest. Only the digest proves that the part is
the agent's output. If the relay reports no totals, the file is used up to the first line that cannot be the
agent's. If another agent inserted lines into the file, the comparison with the relay's totals reveals that.

A log loses lines at a rotation, with or without a connected reader. An old kubelet that looks for the new
file before it exists stays at the old file, until the next rotation or forever (observed with 1.20,
kubernetes/kubernetes#115701); any kubelet may skip the last lines of the old file. A stream that is stuck
is silent while the file grows (`Backfill.is_ahead`). A stream that skips lines looks healthy, so lines are
compared with the file before they are delivered (`Backfill.first_omission`); afterwards the order could not
be repaired.

Whatever an agent does to the file, this process searches it for at most `TOTAL_SECONDS`, and keeps at most
one line, or `KEPT_BYTES`, of it in memory. This module only reads. `pipeline` delivers what it finds.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog.counts import Counts
from paperclip_claude_k8s.podlog.file_reader import (
    ATTEMPT_PAUSE,
    ATTEMPTS,
    NUL,
    READ_BYTES,
    FileReader,
    Match,
)
from paperclip_claude_k8s.podlog.interfaces import RelayFile
from paperclip_claude_k8s.podlog.log_lines import RECORD_BYTES, first_line
from paperclip_claude_k8s.podlog.log_report import Totals

COMPARE_TIMEOUT = 3.0
"""Longest time for which lines are held back while the file is compared with them, seconds."""
SLOW_READ = 0.25
"""Seconds. A read that takes longer is followed by `FAILURE_PAUSE` without a comparison."""
KEPT_BYTES = 16 * 1024 * 1024
"""Largest part of the file that stays in memory while its digest is verified; a larger part is read twice."""
# Reasons why the file cannot be used, for `Backfill.why_unusable`.
DIFFERS = "its content differs from the log"
TOO_SHORT = "it ends before the output does"


@dataclass(frozen=True, slots=True)
class Omission:
    """A point where the log omitted something: between two lines of a block, or before the first line."""

    at: int
    """Number of bytes of the block before that point."""
    match: Match


class Backfill:
    """Compares the log with the file, and selects the part of the file that follows the delivered output."""

    def __init__(self, counts: Counts, file: RelayFile) -> None:
        self._counts = counts
        self.reader = FileReader(file)
        self._aligned = True
        """False from the moment a comparison finds a difference until the next bookmark (see `marks`)."""
        self.unproven = 0  # bytes that `missing_at_end` yielded without totals to compare them with
        self._mismatch: str | None = None
        """Why text of the file was rejected; None if none was."""

    async def first_omission(self, block: bytes) -> Omission | None:
        """The first point where the log omitted output that the file has.

        `block`: the next lines of the log. None if nothing was omitted, or the file is late or slow to read.
        """
        start = self._comparable_from()
        if start is None:
            return None
        began = loop_time()
        try:
            # no time limit before the first delivery, because a long beginning may be missing
            async with asyncio.timeout(COMPARE_TIMEOUT if self._counts.bytes else None):
                seen = await self.reader.read(start, start + len(block), COMPARE_TIMEOUT)
                if loop_time() - began > SLOW_READ:
                    self.reader.pause()
                if block.startswith(seen):
                    return None
                omission = await self._locate_omission(block, seen, start)
                if omission is not None:
                    return omission
        except TimeoutError:
            self.reader.pause()
        self.stop_comparing()
        return None

    async def _locate_omission(self, block: bytes, seen: bytes, start: int) -> Omission | None:
        """Find in the file the line that follows the omission. `seen`: what the file has for `block`."""
        at = _size_of_common_lines(block, seen)
        line = first_line(block[at:])
        rest = _after_common_records(line, seen[at:])
        partial = len(rest) < len(line) or self._counts.is_partial(line)
        match = await self.reader.find_line(line, rest if partial else None, start + at)
        return Omission(at, match) if match and match.offset > start + at else None

    async def find(self, text: bytes, rest: bytes | None) -> Match | None:
        """Find, in what follows the delivered output, a line that starts with `text` or ends with `rest`."""
        start = self._counts.position
        return None if start is None else await self.reader.find_line(text, rest, start)

    async def is_ahead(self) -> bool:
        """Whether the file has a line, or the beginning of a long line, that was not delivered."""
        start = self._comparable_from()
        piece = b"" if start is None else await self.reader.read(start, start + READ_BYTES, COMPARE_TIMEOUT)
        return b"\n" in piece or len(piece) == READ_BYTES

    def _comparable_from(self) -> int | None:
        """Offset of the next line in the file; None if it is unknown, or if the file is not compared now."""
        return self._counts.position if self._aligned and not self.reader.paused else None

    def stop_comparing(self) -> None:
        """Compare no more until the next bookmark: the offset is wrong, or the runtime stores other text.

        While the file is paused this does nothing: a failed or slow read proves no difference.
        """
        if not self.reader.paused:
            self._aligned = False

    def resume_comparing(self) -> None:
        """Compare again: a bookmark has corrected the counts, so the next line's offset is right again."""
        self._aligned = True

    async def missing_until(self, stop: int, lines: int | None) -> AsyncIterator[bytes] | None:
        """The part of the file from the end of the delivered output to `stop`; None if it is not intact.

        `lines`: the number of newlines that this part must have; None if that number is unknown.
        """
        start = self._counts.position
        if start is None or stop < start or not await self._continues_at(start):
            return None
        if not await self.reader.is_intact(start, stop, lines):
            self._mismatch = self._mismatch or DIFFERS
            return None
        return self.reader.blocks(start, stop)

    async def missing_at_end(self, totals: Totals | None) -> AsyncIterator[bytes] | None:
        """The part of the file from the end of the delivered output on; None if it cannot be used.

        With totals, it must complete the output to exactly these totals. Without them, or if the relay copied
        only the beginning, it is used up to the first line that cannot be the agent's.
        """
        start = self._counts.position
        if start is None:
            return None
        in_file = totals.in_file if totals else None
        if totals is None or (in_file is not None and in_file < totals.bytes):
            more = in_file is None or in_file > start
            return self._credible(start, in_file) if more and await self._continues_at(start) else None
        if not totals.sha256 or self._counts.missing:
            return await self.missing_until(totals.bytes, self._counts.lines_until(totals))
        return await self._verified(start, totals)

    async def why_unusable(self, totals: Totals | None) -> str | None:
        """Why the file cannot be used at the end of the log; None if it can, or if the relay reports why.

        If the log is complete without the file, the end of the output is compared here, because the file may
        not have been read for a long time. If the relay copied all of the output, no byte may follow it.
        """
        if totals is not None and (totals.in_file is None or totals.in_file < totals.bytes):
            return None
        if totals is None or self.reader.timed_out or self._counts.bytes != totals.bytes:
            return self.reader.failure or self._mismatch
        ending = self._counts.ending
        start, stop = totals.bytes - len(ending), totals.bytes + (totals.in_file == totals.bytes)
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(ATTEMPT_PAUSE)
            seen = await self.reader.read(start, stop, COMPARE_TIMEOUT)
            if seen == ending or self.reader.failure:
                return self.reader.failure
        return DIFFERS if len(seen) >= len(ending) else TOO_SHORT

    async def _continues_at(self, start: int) -> bool:
        """Whether the bytes delivered last precede `start` in the file. If not, the offset is wrong."""
        ending = self._counts.ending
        return start >= len(ending) and await self.reader.read(start - len(ending), start) == ending

    async def _verified(self, start: int, totals: Totals) -> AsyncIterator[bytes] | None:
        """The file from `start` on, if the delivered output together with it has the relay's digest."""
        digest = self._counts.copy_digest()
        kept = await _hash_and_keep(self.reader.blocks(start, totals.bytes), digest)
        if digest.hexdigest() != totals.sha256:
            self._mismatch = self._mismatch or DIFFERS
            return None
        return _each(kept) if kept else self.reader.blocks(start, totals.bytes)

    async def _credible(self, start: int, stop: int | None) -> AsyncIterator[bytes]:
        """Yield the file up to the first line that cannot be the agent's: see `_credible_lines`."""
        events = self._counts.event_lines if self._counts.bytes else None
        async for block in self.reader.blocks(start, stop):
            events = block.startswith(b"{") if events is None else events
            credible = _credible_lines(block, events=events)
            if credible:
                self.unproven += len(credible)
                yield credible
            if len(credible) < len(block):
                self._mismatch = self._mismatch or DIFFERS
                return


async def _hash_and_keep(blocks: AsyncIterator[bytes], digest: "hashlib._Hash") -> list[bytes]:
    """Add the blocks to the digest, and return them; an empty list if they are too large to be kept."""
    kept, size = list[bytes](), 0
    async for block in blocks:
        digest.update(block)
        size += len(block)
        kept = [*kept, block] if size <= KEPT_BYTES else []
    return kept


async def _each(blocks: list[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def _credible_lines(block: bytes, *, events: bool) -> bytes:
    """The lines before the first one that has NUL bytes, or, with `events`, that is not an event."""
    size = 0
    for line in block.splitlines(keepends=True):
        if NUL in line or (events and not _looks_like_event(line)):
            break
        size += len(line)
    return block[:size]


def _looks_like_event(line: bytes) -> bool:
    """Whether the line may be a JSON object. Also true for one that was cut off when the agent ended."""
    return line.startswith(b"{") and line.endswith((b"}\n", b"}\r\n") if line.endswith(b"\n") else b"")


def _size_of_common_lines(block: bytes, seen: bytes) -> int:
    """Size in bytes of the whole lines with which both texts start."""
    size = 0
    for line, other in zip(block.split(b"\n")[:-1], seen.split(b"\n")[:-1], strict=False):
        if line != other:
            break
        size += len(line) + 1
    return size


def _after_common_records(line: bytes, seen: bytes) -> bytes:
    """The line without the records at its start that `seen` has too; after those, the log may lack a record.

    A container runtime stores a long line in records of `RECORD_BYTES`, and the log can lose each of them.
    """
    at = 0
    while at < len(line) and line[at : at + RECORD_BYTES] == seen[at : at + RECORD_BYTES]:
        at += RECORD_BYTES
    return line[at:]
