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

from paperclip_claude_k8s.cli.runs.disk import DISK, Disk, still_there

LINE = 4096
"""Bytes of a line by which its place is found again."""


class MirroredFile:
    """One such file. Nothing that is in it is ever given up but what a power cut leaves: NUL bytes."""

    def __init__(self, path: Path, disk: Disk = DISK) -> None:
        self._disk = disk
        self._handle = disk.open(path)
        self._at = self.size

    @property
    def size(self) -> int:
        return os.fstat(self._handle).st_size

    def begin(self, offset: int) -> None:
        """The stream is told from its first byte now, which stands, or will stand, at `offset`."""
        self._at = min(offset, self.size)

    def feed(self, block: bytes) -> bytes:
        """Take whole lines; gives those that were not wholly on the disk before."""
        new = []
        while block:
            there = os.pread(self._handle, len(block), self._at)
            same = _common(there, block)
            if same == len(there):
                self._disk.write_at(self._handle, block[same:], self._at + same)
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
        if self.size > self._at:
            self._disk.cut(self._handle, self._at)

    def secure(self) -> None:
        """See to it that all of it is on the disk, and that somebody can find it there."""
        self._disk.sync(self._handle)
        self.check()

    def check(self) -> None:
        """Raises `FileNotFoundError` where the file was removed meanwhile."""
        still_there(self._handle)

    def close(self) -> None:
        os.close(self._handle)

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
        with mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ) as content:
            found = content.find(b"\n" + line, self._at)
            damaged = not content[self._at + same :].strip(b"\0")
            torn = content[-1:] != b"\n"
        if found >= 0:
            return found + 1
        if damaged:
            self._disk.cut(self._handle, self._at + same)
            return self._at
        if torn:
            self._disk.append(self._handle, b"\n")
        return self.size


def _common(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    if one == other[: len(one)]:
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low
