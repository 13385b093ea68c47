"""The relay's own lines in a container's log, and how they are separated from the agent's output.

The relay is the shell script that wraps the agent (`relay/relay.sh`). It writes stdout unchanged, and adds
marked lines to the same log. A marked line is the byte 0x1e, the run's nonce, a space, and one of

    b BYTES LINES    a bookmark: how much of stdout the relay had written so far
    e TEXT           a line of stderr

If the last line of stdout has no newline, the relay appends 0x1e, the nonce and ` n` to it. Everything else
is stdout. That is why the log of a container without a relay is read correctly too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

MARK_BYTE = b"\x1e"
_COUNTS = re.compile(rb"b (\d{1,18}) (\d{1,18})\s*")


@dataclass(frozen=True, slots=True)
class Stdout:
    """Lines of stdout, each with its newline unless the output ended without one."""

    block: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Stderr:
    """Lines of stderr, each with its newline."""

    block: bytes


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How much of stdout the relay had written when it wrote this line."""

    bytes: int
    lines: int


Part = Stdout | Stderr | Bookmark


class Marks:
    """Recognises the marked lines of one run. Without a nonce there are none."""

    def __init__(self, nonce: str | None) -> None:
        self._prefix = MARK_BYTE + nonce.encode() + b" " if nonce else None

    def none_in(self, text: bytes) -> bool:
        """Whether the text contains no marked line.

        JSON escapes control characters, so for almost every text the search for one byte decides.
        """
        return self._prefix is None or MARK_BYTE not in text or self._prefix not in text

    def parts(self, text: bytes) -> Iterator[Part]:
        """Split whole lines into parts, in order. Marked lines of an unknown kind are skipped.

        Consecutive lines of stdout are one part, and so are those of stderr, because each part costs one call
        of the sink. A line of stdout without a newline is a part of its own.
        """
        for (kind, _), group in groupby(self._parts_of_lines(text), _kind_of):
            if kind is Bookmark:
                yield from group
                continue
            blocks = [part.block for part in group if not isinstance(part, Bookmark)]
            block = b"".join(blocks)
            yield Stderr(block) if kind is Stderr else Stdout(block, len(blocks))

    def _parts_of_lines(self, text: bytes) -> Iterator[Part]:
        """A part for each line."""
        start = 0
        while start < len(text):
            end = text.find(b"\n", start) + 1 or len(text)
            line, start = text[start:end], end
            part = Stdout(line, 1) if self.none_in(line) else self._parse(line)
            if part is not None:
                yield part

    def _parse(self, line: bytes) -> Part | None:
        prefix = self._prefix or b""
        if not line.startswith(prefix):
            return Stdout(line.removesuffix(prefix + b"n\n"), 1)
        start = len(prefix)
        if line.startswith(b"e ", start):
            return Stderr(line[start + 2 :])
        counts = _COUNTS.fullmatch(line, start)
        return Bookmark(int(counts[1]), int(counts[2])) if counts else None


def _kind_of(part: Part) -> tuple[type, bool]:
    """The kind of a part, and whether it is a whole line."""
    return type(part), isinstance(part, Bookmark) or part.block.endswith(b"\n")
