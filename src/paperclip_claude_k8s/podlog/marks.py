"""The relay's own lines in a container's log, told from what the agent wrote.

A marked line is the byte 0x1e, the run's nonce, a space, and `b BYTES LINES` (a bookmark: counts of stdout so
far) or `e TEXT` (a line of stderr). A stdout line that ends in 0x1e, nonce, ` n` was the last one and had no
newline of its own. Everything else is stdout, so that a container without a relay is read as well.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MARK = b"\x1e"
_COUNTS = re.compile(rb"b (\d{1,18}) (\d{1,18})\s*")


@dataclass(frozen=True, slots=True)
class Stdout:
    """Lines of stdout, each with its newline unless the log ended without one."""

    block: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Stderr:
    """One line of stderr with its newline."""

    block: bytes


@dataclass(frozen=True, slots=True)
class Bookmark:
    """What the relay had written of stdout when it wrote this."""

    bytes: int
    lines: int


Part = Stdout | Stderr | Bookmark


class Marks:
    """Reads the lines of one run; without a nonce there are no marks."""

    def __init__(self, nonce: str | None) -> None:
        self._mark = MARK + nonce.encode() + b" " if nonce else None

    def none_in(self, text: bytes) -> bool:
        """Events escape control characters: one byte tells of nearly every text, as fast as memory is."""
        return self._mark is None or MARK not in text or self._mark not in text

    def parts(self, text: bytes) -> Iterator[Part]:
        """Take whole lines apart into what they are, in order; a mark of an unknown kind says nothing."""
        plain: list[bytes] = []
        for line in text[:-1].split(b"\n"):
            if self.none_in(line):
                plain.append(line + b"\n")
                continue
            if plain:
                yield Stdout(b"".join(plain), len(plain))
                plain = []
            part = self._read(line)
            if part is not None:
                yield part
        if plain:
            yield Stdout(b"".join(plain), len(plain))

    def _read(self, line: bytes) -> Part | None:
        mark = self._mark or b""
        if not line.startswith(mark):
            unended = line.removesuffix(mark + b"n")
            return Stdout(unended if unended != line else line + b"\n", 1)
        rest = line[len(mark) :]
        if rest[:2] == b"e ":
            return Stderr(rest[2:] + b"\n")
        counts = _COUNTS.fullmatch(rest)
        return Bookmark(int(counts[1]), int(counts[2])) if counts else None
