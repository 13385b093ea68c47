"""A stream of bytes in a file that is told again from its beginning, and must be in the file once.

The writer verifies instead of trusting a count: what the stream tells again is compared with what is on the
disk, and only what differs or goes further is written. So the file is right after a kill at any byte, after a
power cut that left garbage, and where the log's beginning was rotated away in between.
"""

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

LINE = 4096
"""Bytes of a line by which its place is found again."""


class Saved:
    """One such file. Nothing that is in it is ever given up but what a power cut leaves: NUL bytes."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(handle, "r+b", buffering=0)
        self._at = self.size

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def begin(self, offset: int) -> None:
        """The stream is told from its first byte now, which stands, or will stand, at `offset`."""
        self._at = min(offset, self.size)

    def feed(self, block: bytes) -> bytes:
        """Take whole lines; gives those that were not wholly on the disk before."""
        new = []
        while block:
            there = os.pread(self._file.fileno(), len(block), self._at)
            same = _common(there, block)
            if same == len(there):
                self._put(self._at + same, block[same:])
                new.append(block[block.rfind(b"\n", 0, same) + 1 :] if same < len(block) else b"")
                self._at += len(block)
                break
            whole = block.rfind(b"\n", 0, same) + 1
            self._at += whole
            block = block[whole:]
            self._at = self._place_of(block, same - whole)
        return b"".join(new)

    def end(self) -> None:
        """The stream was complete: what the file holds beyond is none of it."""
        os.ftruncate(self._file.fileno(), self._at)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _place_of(self, block: bytes, same: int) -> int:
        """The stream tells another line than the file has here, but for its first `same` bytes.

        The log has lost what lies between: the line stands further on in the file, or belongs at its end.
        """
        line = block[:LINE].partition(b"\n")[0]
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = content.find(b"\n" + line, self._at)
            damaged = not content[self._at + same :].strip(b"\0")
            torn = content[-1:] != b"\n"
        if found >= 0:
            return found + 1
        if damaged:
            os.ftruncate(self._file.fileno(), self._at + same)
            return self._at
        if torn:
            self._put(self.size, b"\n")
        return self.size

    def _put(self, at: int, what: bytes) -> None:
        while what:
            written = os.pwrite(self._file.fileno(), what, at)
            at, what = at + written, what[written:]


def _common(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    if one == other[: len(one)]:
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low
