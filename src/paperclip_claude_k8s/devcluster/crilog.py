"""Container logs as a runtime stores them and a kubelet serves them: records, not lines.

A line is stored as records of at most 16 KiB, each with a time, a stream and a tag (P: more of this line
follows, F: the line ends here). A reader applies `since` to each record, in whole seconds, and keeps one flag
for both streams that says whether the answer stands at the start of a line.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RECORD = 16 * 1024
BLOCK = 256 * 1024


class LogFile:
    """One container's log. Writers append records; readers follow; rotation starts a new file."""

    def __init__(self, path: Path, rotate_at: int = 0, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self.clock = clock
        self.generation = 0
        self.ended = False
        self._rotate_at = rotate_at
        self._grown = asyncio.Event()
        self._file = path.open("ab")

    def append(self, records: bytes) -> None:
        if self._rotate_at and self._file.tell() > self._rotate_at:
            self._rotate()
        self._file.write(records)
        self._file.flush()
        self._wake()

    def end(self) -> None:
        """The container has ended and everything it wrote is here."""
        self.ended = True
        self._file.close()
        self._wake()

    def next_growth(self) -> asyncio.Event:
        """Set with the next append, rotation or end."""
        return self._grown

    def _rotate(self) -> None:
        """What was rotated away is not served any more, as by a kubelet."""
        self._file.close()
        self.path.replace(self.path.with_suffix(".1"))
        self._file = self.path.open("ab")
        self.generation += 1

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


class StreamWriter:
    """Cuts one stream of a container into records: whole lines, or 16 KiB pieces of longer ones."""

    def __init__(self, log: LogFile, stream: str) -> None:
        self._log = log
        self._stream = stream.encode()
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        out = [piece for line in lines for piece in self._records(line)]
        whole = len(self._rest) - len(self._rest) % RECORD
        if whole:
            pieces, self._rest = self._rest[:whole], self._rest[whole:]
            out += [self._record(pieces[at : at + RECORD], b"P") for at in range(0, whole, RECORD)]
        if out:
            self._log.append(b"".join(out))

    def close(self) -> None:
        """A last line without newline is stored as if it had one, as containerd does."""
        if self._rest:
            self._log.append(b"".join(self._records(self._rest)))
            self._rest = b""

    def _records(self, line: bytes) -> list[bytes]:
        last = max(len(line) - 1, 0) // RECORD * RECORD
        parts = [self._record(line[at : at + RECORD], b"P") for at in range(0, last, RECORD)]
        return [*parts, self._record(line[last:], b"F")]

    def _record(self, text: bytes, tag: bytes) -> bytes:
        return b"%s %s %s %s\n" % (_stamp(self._log.clock()), self._stream, tag, text)


def _stamp(nanos: int) -> bytes:
    seconds, rest = divmod(nanos, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".encode()


@dataclass(slots=True)
class Wish:
    """What a reader asks for. `since` is a whole second as the stamps begin, e.g. b"2026-01-02T03:04:05"."""

    follow: bool = False
    timestamps: bool = False
    since: bytes = b""
    tail: int | None = None
    limit: int | None = None
    every_record: bool = False
    """Kubelets before about v1.26 put a stamp before every record, not only at the start of a line."""


class Reader:
    """Turns records into the bytes of an answer."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._at_start = True

    def render(self, records: list[bytes]) -> bytes:
        return b"".join(part for record in records for part in self._parts(record))

    def _parts(self, record: bytes) -> list[bytes]:
        try:
            stamp, _, tag, text = record.split(b" ", 3)
        except ValueError:
            return []  # a kubelet skips what it cannot read
        if stamp[:19] < self._wish.since:
            return []
        prefixed = self._wish.timestamps and (self._at_start or self._wish.every_record)
        self._at_start = tag == b"F"
        return [stamp, b" ", text, b"\n"][0 if prefixed else 2 : 4 if self._at_start else 3]


async def read_log(log: LogFile, wish: Wish) -> AsyncIterator[bytes]:
    """The bytes of an answer: what is there, and with `follow` what comes until the container has ended."""
    reader, rest, generation = Reader(wish), b"", log.generation
    source = log.path.open("rb")
    try:
        if wish.tail is not None:
            source.seek(_tail_offset(log.path.read_bytes(), wish.tail))
        while True:
            ended, grown = log.ended, log.next_growth()  # both before the read: nothing can slip between
            block = source.read(BLOCK)
            if block:
                *records, rest = (rest + block).split(b"\n")
                yield reader.render(records)
            elif generation != log.generation:
                source.close()
                source, generation, rest = log.path.open("rb"), log.generation, b""
            elif ended or not wish.follow:
                return
            else:
                await grown.wait()
    finally:
        source.close()


def _tail_offset(content: bytes, lines: int) -> int:
    """Where the last `lines` lines begin; a line ends with its F record."""
    starts, at, fresh = [], 0, True
    for record in content.split(b"\n")[:-1]:
        if fresh:
            starts.append(at)
        fresh = record.split(b" ", 3)[2] == b"F"
        at += len(record) + 1
    return starts[-lines] if 0 < lines <= len(starts) else (at if lines == 0 else 0)
