"""Shortens texts for a reader: leaves out lines of a text, and the middle of a very long line."""

from dataclasses import dataclass

MAX_LINE_CHARS = 1000
"""Characters of one line that are shown; what is left out is in its middle."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of a text: `first`, then `left_out` lines that are not shown, then `last`."""

    first: list[str]
    left_out: int
    last: list[str]


def excerpt(text: str, first: int, last: int) -> Excerpt:
    """The first and the last lines of the text; all lines if at most one would be left out."""
    text = text.strip("\r\n")
    count = text.count("\n") + 1
    if count <= first + last + 1:  # a note in place of one line would be as long
        return Excerpt(_stripped(text.split("\n")), 0, [])
    head = text.split("\n", first)[:first]
    tail = text.rsplit("\n", last)[1:]
    return Excerpt(_stripped(head), count - first - last, _stripped(tail))


def shortened_line(line: str) -> str:
    """The line, without its middle if it is very long."""
    if len(line) <= MAX_LINE_CHARS:
        return line
    part = MAX_LINE_CHARS // 2
    return f"{line[:part]} … {len(line) - 2 * part:,} characters … {line[-part:]}"


def _stripped(lines: list[str]) -> list[str]:
    return [line.rstrip() for line in lines]
