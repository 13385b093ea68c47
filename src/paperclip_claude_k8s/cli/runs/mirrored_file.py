r"""A file that receives a byte stream and keeps each line once, even if the stream starts again.

A new process reads the agent's log from its first byte again. It compares what it reads with the file, and
writes only what differs or goes beyond the file. Comparing is safer than trusting a stored position: the file
is right after a kill at any byte, after a power cut that left NUL bytes, and if the cluster has dropped the
start of the log.

Example: the file holds `one\ntwo\nth`, and the stream delivers `one\ntwo\nthree\nfour\n` again. The first 10
bytes are equal, so `ree\nfour\n` is written behind them, and `feed` returns `three\nfour\n`, the lines that
were not complete in the file before. If the stream delivers only `three\nfour\n`, because the log was
rotated, `feed` searches the file for the first line and finds no complete one, so it ends the partial line
and appends both lines.
"""

import mmap
import os
from pathlib import Path

from paperclip_claude_k8s.cli.runs.disk import REAL_DISK, Disk, check_not_deleted

SEARCHED_BYTES = 4096
"""Of a longer line, only this many bytes at its start are searched for in the file."""


class MirroredFile:
    """The file at `path`. Only NUL bytes at its end, and what `cut_rest` cuts, are ever removed from it."""

    def __init__(self, path: Path, disk: Disk = REAL_DISK) -> None:
        self._disk = disk
        self._handle = disk.open(path)
        self._offset = self.size

    @property
    def size(self) -> int:
        return os.fstat(self._handle).st_size

    def rewind(self, offset: int) -> None:
        """The stream starts again: its first byte is, or will be, at `offset` of the file."""
        self._offset = min(offset, self.size)

    def feed(self, block: bytes) -> bytes:
        """Take whole lines of the stream; return those that were not complete in the file before."""
        new = []
        while block:
            existing = os.pread(self._handle, len(block), self._offset)
            same = _common_length(existing, block)
            if same == len(existing):  # the file ends here: append the rest of the block
                self._disk.write_at(self._handle, block[same:], self._offset + same)
                # what is new begins with the line that was not complete in the file
                new.append(block[block.rfind(b"\n", 0, same) + 1 :] if same < len(block) else b"")
                self._offset += len(block)
                break
            equal_lines = block.rfind(b"\n", 0, same) + 1  # bytes of complete lines; the next line differs
            self._offset += equal_lines
            block = block[equal_lines:]
            self._offset = self._find_line(block, same - equal_lines)
        return b"".join(new)

    def cut_rest(self) -> None:
        """The stream is complete: remove what the file holds beyond it."""
        if self.size > self._offset:
            self._disk.cut(self._handle, self._offset)

    def sync(self) -> None:
        """Ensure that the content is on the disk, and that the file was not deleted."""
        self._disk.sync(self._handle)
        self.check()

    def check(self) -> None:
        """Raises `FileNotFoundError` if the file was deleted."""
        check_not_deleted(self._handle)

    def close(self) -> None:
        os.close(self._handle)

    def _find_line(self, block: bytes, same: int) -> int:
        """The offset for the block's first line, which differs from the file's line here after `same` bytes.

        The cluster has dropped lines of the stream: the line is either further on in the file, or belongs at
        its end.
        """
        line = block[:SEARCHED_BYTES].partition(b"\n")[0]
        with mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ) as content:
            found = content.find(b"\n" + line, self._offset)
            rest_is_nul_bytes = not content[self._offset + same :].strip(b"\0")
            ends_in_partial_line = content[-1:] != b"\n"
        if found >= 0:
            return found + 1
        if rest_is_nul_bytes:
            self._disk.cut(self._handle, self._offset + same)
            return self._offset
        if ends_in_partial_line:
            self._disk.append(self._handle, b"\n")
        return self.size


def _common_length(first: bytes, second: bytes) -> int:
    """Length of the common prefix, by binary search: slices are compared much faster than single bytes."""
    if first == second[: len(first)]:
        return len(first)
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low
