"""Measures the log follower against a bare loop that reads lines and removes their timestamps, in MB/s.

    python tests/perf/follow.py [MB]

Python code cannot be much faster than the bare loop. The loop is also measured with the SHA-256 of the
output, which the follower computes as well. Prints the peak memory for a stream of MB megabytes and for one
five times as long: the memory must not grow with the length.
"""

import asyncio
import hashlib
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from paperclip_claude_k8s.podlog import Follower, Notice

CHUNK = 256 * 1024
TIMESTAMP_BYTES = 31
"""Bytes of a timestamp and the blank after it."""
LINES_PER_SECOND = 50_000
"""Number of lines whose timestamps are in the same second."""


def timestamped_lines(size: int) -> bytes:
    """Return about 16 MB of lines of `size` bytes, each with a timestamp, as a kubelet sends them."""
    count = 16_000_000 // (size + TIMESTAMP_BYTES)
    text = b"x" * (size - 1)
    return b"".join(
        b"2026-01-01T00:%02d:%02d.%09dZ %b\n"
        % (*divmod(n // LINES_PER_SECOND, 60), n % LINES_PER_SECOND * 20_000, text)
        for n in range(count)
    )


def chunks(block: bytes, megabytes: int) -> Iterator[bytes]:
    """Repeat the block up to so many megabytes, in chunks."""
    for _ in range(max(1, megabytes * 1_000_000 // len(block))):
        for at in range(0, len(block), CHUNK):
            yield block[at : at + CHUNK]


@dataclass(slots=True)
class StoredLog:
    """A complete log in memory."""

    pieces: Iterator[bytes]
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> bytes:
        piece = next(self.pieces, b"")
        if not piece:
            self.done.set()
        return piece

    @asynccontextmanager
    async def open(
        self, *, since: int | None, follow: bool, tail: int | None = None
    ) -> AsyncIterator["StoredLog"]:
        yield self


@dataclass(slots=True)
class CountingSink:
    size: int = 0

    async def stdout(self, block: bytes) -> None:
        self.size += len(block)

    async def stderr(self, block: bytes) -> None: ...

    async def notice(self, notice: Notice) -> None: ...


def bare_loop(pieces: Iterator[bytes], *, digest: bool) -> int:
    rest, size, sha256 = b"", 0, hashlib.sha256()
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        block = b"\n".join([line[TIMESTAMP_BYTES:] for line in lines]) + b"\n"
        size += len(block)
        if digest:
            sha256.update(block)
    return size


async def follow_to_end(pieces: Iterator[bytes]) -> None:
    """Follow to the end of the stream, without the requests that complete the log."""
    log = StoredLog(pieces)
    async with asyncio.TaskGroup() as group:
        never = asyncio.get_running_loop().create_future()
        following = group.create_task(Follower(log, CountingSink()).run(never))
        await log.done.wait()
        following.cancel()


def format_rate(megabytes: int, seconds: float) -> str:
    return f"{megabytes / seconds:7.0f} MB/s"


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("bytes per line   bare loop     with sha256   follower")
    for size in (170, 1000, 10_000):
        block, rates = timestamped_lines(size), []
        for run in (
            lambda pieces: bare_loop(pieces, digest=False),
            lambda pieces: bare_loop(pieces, digest=True),
            lambda pieces: asyncio.run(follow_to_end(pieces)),
        ):
            start = time.perf_counter()
            run(chunks(block, megabytes))
            rates.append(format_rate(megabytes, time.perf_counter() - start))
        print(f"{size:14}   " + "  ".join(rates))
    for factor in (1, 5):  # `block` now has the longest lines
        asyncio.run(follow_to_end(chunks(block, megabytes * factor)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"peak memory after {megabytes * factor} MB: {peak} MB")


if __name__ == "__main__":
    main()
