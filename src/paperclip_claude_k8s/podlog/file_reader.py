"""Reads the relay's file on the shared volume, in limited time and memory, whatever an agent does to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog.interfaces import RelayFile
from paperclip_claude_k8s.podlog.log_lines import LINE_LIMIT

READ_BYTES = 256 * 1024
"""Size of one read of the file; bounds memory whatever the size of a gap."""
SEARCH_BYTES = 1024 * 1024
"""Longest text that is searched for in the file; a longer text would not make a match more certain."""
ATTEMPTS = 3
"""Attempts to find what the log has shown already: a network volume may show it later than the log does."""
ATTEMPT_PAUSE = 0.5
"""Seconds between two attempts."""
TOTAL_SECONDS = 30.0
"""Longest time in which one run searches the file, verifies parts of it and reads what is missing, in all. A
gap of 1 GB takes 10 s on a network volume; a file that an agent has replaced could be searched for ever."""
READ_TIMEOUT = 10.0
"""Longest time for one read of the file, seconds."""
FAILURE_PAUSE = 60.0
"""Seconds without a comparison after the file could not be read, or was slow."""
ABSENCE_PAUSE = 1.0
"""Seconds without a comparison after the file did not exist: the relay may be about to create it."""
NUL = b"\0"
"""Content of a hole: the file was truncated and then continued. JSON never contains it."""
# Reasons why nothing was read, for `FileReader.failure`.
LATE = "it could not be read in time"
SLOW = "reading it took too long in all"


@dataclass(frozen=True, slots=True)
class Match:
    """Where the next line of the log is in the file. The log lacks what the file has before that line."""

    offset: int
    is_line_start: bool
    """True: `offset` is the start of that line. False: its end, because the log has only the line's end."""


class FileReader:
    """Reads the file with timeouts. After a failure the file is left alone for a while.

    All searches, checks and fills together take at most `TOTAL_SECONDS`, or what `limit` allows; afterwards
    nothing is read any more. Comparisons do not count: their size is that of the lines that they compare.
    """

    def __init__(self, file: RelayFile) -> None:
        self.failure: str | None = None
        """Why the last read failed; None if it succeeded."""
        self._file = file
        self._paused_until = float("-inf")
        self._given_up = False
        self._seconds_left = TOTAL_SECONDS
        self._deadline = float("inf")
        """End of the current search, check or fill."""
        self._read_timeout = READ_TIMEOUT
        self._reading: asyncio.Timeout | None = None
        """The time limit of the read that is in progress."""

    def limit(self, seconds: float) -> None:
        """Read for at most `seconds` from now on: one read, and all searches, checks and fills together."""
        latest = loop_time() + seconds
        self._seconds_left = min(self._seconds_left, seconds)
        if self._deadline < float("inf"):
            self._deadline = min(self._deadline, latest)
        self._read_timeout = min(self._read_timeout, seconds)
        if self._reading is not None and (self._reading.when() or latest) > latest:
            self._reading.reschedule(latest)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Count the time of the block, and let its reads fail when no time is left."""
        began = loop_time()
        self._deadline = began + self._seconds_left
        try:
            yield
        finally:
            self._seconds_left -= loop_time() - began
            self._deadline = float("inf")

    @property
    def paused(self) -> bool:
        return loop_time() < self._paused_until

    @property
    def timed_out(self) -> bool:
        """Whether the last read took too long."""
        return self.failure == LATE

    def pause(self, seconds: float = FAILURE_PAUSE) -> None:
        self._paused_until = loop_time() + seconds

    async def read(self, start: int, stop: int, timeout: float = READ_TIMEOUT) -> bytes:  # noqa: ASYNC109
        """Return bytes [start, stop) of the file; b"" if it cannot be read, or not in time."""
        if loop_time() > self._deadline:
            self._give_up(SLOW)
        if self._given_up:
            return b""
        try:
            async with asyncio.timeout(min(timeout, self._read_timeout)) as self._reading:
                piece = await self._file.read(start, stop) if stop > start else b""
        except TimeoutError:
            self._fail(LATE, FAILURE_PAUSE)
        except FileNotFoundError as error:  # may exist soon
            self._fail(error.strerror or str(error), ABSENCE_PAUSE)
        except OSError as error:
            self._fail(error.strerror or str(error), FAILURE_PAUSE)
        else:
            self.failure = self.failure if self._given_up else None  # the reason for giving up stays
            return piece
        finally:
            self._reading = None
        return b""

    def _fail(self, reason: str, pause: float) -> None:
        if not self._given_up:
            self.failure = reason
            self.pause(pause)

    def _give_up(self, reason: str) -> None:
        """Read nothing any more."""
        self._fail(reason, float("inf"))
        self._given_up = True

    async def find_line(self, text: bytes, rest: bytes | None, start: int) -> Match | None:
        """Find, from `start` on, a line that starts with `text`, or a line that ends with `rest`."""
        patterns = [(b"\n" + text[:SEARCH_BYTES], 1, True)]  # with the distance from its start to the result
        if rest:
            ending = rest[-SEARCH_BYTES:]
            patterns.append((ending, len(ending), False))
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(ATTEMPT_PAUSE)
            for pattern, distance, is_line_start in patterns:
                found = await self._find(pattern, start)
                if found is not None:
                    return Match(found + distance, is_line_start)
                if self.paused:
                    return None
        return None

    async def _find(self, pattern: bytes, start: int) -> int | None:
        """Offset of the first occurrence of the pattern, which may begin with the newline before `start`."""
        at, window = start, b"\n"
        with self._limited():
            while piece := await self.read(at, at + READ_BYTES):
                window += piece
                at += len(piece)
                found = window.find(pattern)
                if found >= 0:
                    return at - len(window) + found
                window = window[-len(pattern) :]
        return None

    async def is_intact(self, start: int, stop: int, lines: int | None) -> bool:
        """Whether the file has all of [start, stop), without NUL bytes, with `lines` newlines if given."""
        if stop > start and not await self.read(stop - 1, stop):
            return False
        at, seen = start, 0
        with self._limited():
            while piece := await self.read(at, min(at + READ_BYTES, stop)):
                at += len(piece)
                seen += piece.count(b"\n")
                if NUL in piece:
                    return False
        return at == stop and lines in (None, seen)

    async def blocks(self, start: int, stop: int | None) -> AsyncIterator[bytes]:
        """Yield [start, stop), or all from `start` on, in blocks of whole lines. The last may be partial.

        Ends before a line of more than `LINE_LIMIT` bytes, which the log would not deliver either.
        """
        at, rest = start, bytearray()
        while piece := await self._next_piece(at, stop):
            at += len(piece)
            end = piece.rfind(b"\n") + 1
            rest += piece[:end] if end else piece
            if len(rest) > LINE_LIMIT:
                return
            if end:
                yield bytes(rest)
                rest = bytearray(piece[end:])
        if rest and stop in (None, at):
            yield bytes(rest)

    async def _next_piece(self, at: int, stop: int | None) -> bytes:
        with self._limited():
            return await self.read(at, at + READ_BYTES if stop is None else min(at + READ_BYTES, stop))
