"""Container logs in the CRI format, as a runtime stores them and a kubelet serves them.

A line is stored as records of at most 16 KiB, each with a time, a stream and a tag (P: the line continues,
F: the line ends). For example, a line of 20 KiB is stored as

    2026-01-02T03:04:05.000000001Z stdout P <16 KiB>
    2026-01-02T03:04:05.000000002Z stdout F <4 KiB>

A kubelet compares `since` with the time of each record, in whole seconds. It writes a timestamp only at the
start of a line of the response; stdout and stderr share one flag for whether the response is at the start of
a line.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RECORD_BYTES = 16 * 1024
"""Largest number of bytes of text in one record."""
BLOCK_BYTES = 256 * 1024
"""Largest number of bytes read from the file at once."""


class LogFile:
    """One container's log file. Writers append records, readers follow it, rotation starts a new file."""

    def __init__(self, path: Path, rotate_at: int = 0, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self.clock = clock
        self.generation = 0
        """Number of rotations so far."""
        self.ended = False
        self._rotate_at = rotate_at
        self._grown = asyncio.Event()
        self._file = path.open("ab")

    def append(self, records: bytes) -> None:
        if self._rotate_at and self._file.tell() > self._rotate_at:
            self._rotate()
        self._file.write(records)
        self._file.flush()
        self._notify_readers()

    def end(self) -> None:
        """Note that the container has ended and its output is complete."""
        self.ended = True
        self._file.close()
        self._notify_readers()

    def next_growth(self) -> asyncio.Event:
        """An event that the next append, rotation or end sets."""
        return self._grown

    def _rotate(self) -> None:
        """Start a new file. As with a kubelet, the rotated file is no longer served."""
        self._file.close()
        self.path.replace(self.path.with_suffix(".1"))
        self._file = self.path.open("ab")
        self.generation += 1

    def _notify_readers(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


class StreamWriter:
    """Splits one stream of a container into records: whole lines, or 16 KiB pieces of long lines."""

    def __init__(self, log: LogFile, stream: str) -> None:
        self._log = log
        self._stream = stream.encode()
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        out = [piece for line in lines for piece in self._records(line)]
        size = len(self._rest) - len(self._rest) % RECORD_BYTES  # of the full records in an incomplete line
        if size:
            text, self._rest = self._rest[:size], self._rest[size:]
            out += [self._record(text[at : at + RECORD_BYTES], b"P") for at in range(0, size, RECORD_BYTES)]
        if out:
            self._log.append(b"".join(out))

    def close(self) -> None:
        """Store a last line without a newline as if it had one, as containerd does."""
        if self._rest:
            self._log.append(b"".join(self._records(self._rest)))
            self._rest = b""

    def _records(self, line: bytes) -> list[bytes]:
        last = max(len(line) - 1, 0) // RECORD_BYTES * RECORD_BYTES
        parts = [self._record(line[at : at + RECORD_BYTES], b"P") for at in range(0, last, RECORD_BYTES)]
        return [*parts, self._record(line[last:], b"F")]

    def _record(self, text: bytes, tag: bytes) -> bytes:
        return b"%s %s %s %s\n" % (_stamp(self._log.clock()), self._stream, tag, text)


def _stamp(nanos: int) -> bytes:
    seconds, rest = divmod(nanos, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".encode()


@dataclass(slots=True)
class LogOptions:
    """The query of a log request.

    `since`: a whole second, such as b"2026-01-02T03:04:05"; `tail`: lines; `limit`: bytes.
    """

    follow: bool = False
    timestamps: bool = False
    since: bytes = b""
    tail: int | None = None
    limit: int | None = None
    every_record: bool = False
    """Write a timestamp before every record, as kubelets before about v1.26 do."""


class LogRenderer:
    """Turns records of a log file into the bytes of a response."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._at_start = True

    def render(self, records: list[bytes]) -> bytes:
        return b"".join(part for record in records for part in self._parts(record))

    def _parts(self, record: bytes) -> list[bytes]:
        try:
            stamp, _, tag, text = record.split(b" ", 3)
        except ValueError:
            return []  # a kubelet skips malformed records
        if stamp[:19] < self._options.since:
            return []
        prefixed = self._options.timestamps and (self._at_start or self._options.every_record)
        self._at_start = tag == b"F"
        parts = [stamp, b" ", text] if prefixed else [text]
        return [*parts, b"\n"] if self._at_start else parts


async def read_log(log: LogFile, options: LogOptions) -> AsyncIterator[bytes]:
    """The bytes of a response: the log so far; with `follow`, also all later records."""
    renderer, rest, generation = LogRenderer(options), b"", log.generation
    source = log.path.open("rb")
    try:
        if options.tail is not None:
            source.seek(_tail_offset(log.path.read_bytes(), options.tail))
        while True:
            ended, grown = log.ended, log.next_growth()  # both before the read, so that no append is missed
            block = source.read(BLOCK_BYTES)
            if block:
                *records, rest = (rest + block).split(b"\n")
                yield renderer.render(records)
            elif generation != log.generation:
                source.close()
                source, generation, rest = log.path.open("rb"), log.generation, b""
            elif ended or not options.follow:
                return
            else:
                await grown.wait()
    finally:
        source.close()


def _tail_offset(content: bytes, lines: int) -> int:
    """The offset in the file at which the last `lines` lines begin; a line ends with its F record."""
    starts, at, at_start = [], 0, True
    for record in content.split(b"\n")[:-1]:
        if at_start:
            starts.append(at)
        at_start = record.split(b" ", 3)[2] == b"F"
        at += len(record) + 1
    if lines == 0:
        return at
    return starts[-lines] if lines <= len(starts) else 0
