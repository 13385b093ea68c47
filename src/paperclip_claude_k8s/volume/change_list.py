"""Reads the packed changes of an uploaded folder. An agent may have written every byte of them.

`relay/upload_scripts.py` describes the format. Only the list is kept in memory, and its length is bounded.
The contents are read one after the other: as many bytes as the list states for each. Their sum is limited.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.base.work_limit import WorkLimit

_FILE = re.compile(rb"f ([0-9a-f]{64}|-) ([0-9a-f]{64}) ([x-]) ([0-9]{1,12}) \./(.+)")
_DELETED = re.compile(rb"d ([0-9a-f]{64}) \./(.+)")
_LEFT = re.compile(rb"left ([a-z]{1,10}) ([0-9]{1,9})")
_ODD_CHARACTER = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_MAX_LINE = 4096 + 200
"""Bytes of the longest line: a path, and less than 200 bytes before it."""
_BLOCK = 256 * 1024


class ChangesInvalid(Exception):
    """The bytes do not have the format that `upload_return.sh` prints.

    The message is the second half of a sentence about the changes, such as "they end too early".
    """


@dataclass(frozen=True, slots=True)
class Change:
    """One file that the agent changed, created or deleted."""

    path: str
    """Path relative to the folder; "" if it may not be written."""
    base: str | None
    """sha256 of the uploaded file; None for a new file."""
    sha256: str | None
    """sha256 of the agent's file; None if the agent deleted it."""
    size: int = 0
    executable: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))


@dataclass(slots=True)
class ChangeList:
    """The list of changes that the Pod reports."""

    files: list[Change] = field(default_factory=list)
    """New and changed files, in the order of their contents."""
    deleted: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Paths that may not be written, shortened and without control characters, for messages."""
    left: dict[str, int] = field(default_factory=dict)
    """Kind → number of files and links that stay in the Pod."""


class ChangeReader:
    """Unpacks the changes from a file.

    All methods raise `ChangesInvalid` if the format is violated, and `TakesTooLong` if the time is over.
    """

    def __init__(self, packed: BinaryIO, max_bytes: int, limit: WorkLimit) -> None:
        self._packed = packed
        self._max_bytes = max_bytes
        self._limit = limit
        self._zip = zlib.decompressobj(wbits=31)  # for gzip
        self._buffer = b""
        """Bytes that were unpacked, but not used yet."""

    def read_list(self) -> ChangeList:
        """Read the list, with which the packed changes begin."""
        changes, total, lines, length = ChangeList(), 0, 0, 0
        while (line := self._line()) != b".":
            lines += 1
            length += len(line)
            # `entries` files and as many deleted ones, with room for the lines about what stays in the Pod
            if lines > 3 * UPLOAD_LIMITS.entries or length > UPLOAD_LIMITS.list_bytes:
                raise ChangesInvalid("their list is too long")
            total += self._read_entry(line, changes)
            if len(changes.files) > UPLOAD_LIMITS.entries:
                raise ChangesInvalid("they have too many files")
        if total > self._max_bytes:
            raise ChangesInvalid(f"they have {total} bytes, and uploadLimit is {self._max_bytes}")
        return changes

    def _read_entry(self, line: bytes, changes: ChangeList) -> int:
        """Add one line to the list. Returns the size of the content that belongs to it."""
        if found := _FILE.fullmatch(line):
            path, size = self._path(found[5], changes), int(found[4])
            base = None if found[1] == b"-" else found[1].decode()
            changes.files.append(Change(path, base, found[2].decode(), size, found[3] == b"x"))
            return size
        if found := _DELETED.fullmatch(line):
            if path := self._path(found[2], changes):
                changes.deleted.append(Change(path, found[1].decode(), None))
        elif found := _LEFT.fullmatch(line):
            if len(changes.left) < UPLOAD_LIMITS.reported_paths:  # an agent can invent kinds
                changes.left[found[1].decode()] = int(found[2])
        else:
            raise ChangesInvalid("their list has a line of unknown form")
        return 0

    def content(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in blocks."""
        while size:
            block = self._buffer[:size] or self._unpack()[:size]
            if not block:
                raise ChangesInvalid("they end too early")
            self._buffer = self._buffer[len(block) :]
            size -= len(block)
            yield block

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE:
                raise ChangesInvalid("their list has a line that is too long")
            beginning = self._buffer
            self._buffer = b""
            more = self._unpack()
            if not more:
                raise ChangesInvalid("they end too early")
            self._buffer = beginning + more
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line

    def _unpack(self) -> bytes:
        """Fill the empty buffer with at most `_BLOCK` bytes, and return it; b"" if no more bytes follow."""
        self._limit.check()
        while not self._zip.eof:
            data = self._zip.unconsumed_tail or self._packed.read(64 * 1024)
            if not data:
                return b""
            try:
                self._buffer = self._zip.decompress(data, _BLOCK)
            except zlib.error:
                raise ChangesInvalid("they cannot be unpacked") from None
            if self._buffer:
                return self._buffer
        return b""

    @staticmethod
    def _path(raw: bytes, changes: ChangeList) -> str:
        """The path; "" for a path that may not be written, which is added to `refused`."""
        text = raw.decode("utf-8", "surrogateescape")
        if may_write(text.split("/")):
            return text
        changes.refused.append(_ODD_CHARACTER.sub("?", text)[:200])
        return ""


def may_write(path: Sequence[str]) -> bool:
    """Whether an agent may change the file of this path, which is relative to the folder.

    False for everything that git executes or reads as its configuration: a folder `.git` contains both, and a
    file `.git` names such a folder. `GIT~1` is the short name of `.git` on volumes of Windows. A file `HEAD`
    can make any folder a repository.
    """
    is_head = bool(path) and path[-1].casefold() == "head"
    return (
        0 < len(path) <= UPLOAD_LIMITS.depth
        and not is_head
        and all(
            part not in {"", ".", ".."}
            and part.casefold().rstrip(" .") not in {".git", "git~1"}
            and len(part.encode("utf-8", "surrogateescape")) <= 255
            and not _ODD_CHARACTER.search(part)
            for part in path
        )
    )
