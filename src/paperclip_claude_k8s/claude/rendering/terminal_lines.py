"""Items as lines of text for a terminal, or for a file or pipe without colours.

What the agent wrote is untrusted: each text goes through `neutral`, so that it cannot move the cursor, set
the window title or hide text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.rendering.cell_width import cell_width, char_width
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.markdown import Span
from paperclip_claude_k8s.claude.rendering.rows import MARKERS, Row, item_rows

DEFAULT_WIDTH = 100
"""Columns that are assumed for tables if lines are not wrapped."""
NARROWEST_TEXT = 20
"""A text always gets this many columns, however long its prefix is."""
PART_COLUMNS = 4
"""A word wider than a line is cut into parts of this width, of which the first ones fill the current line."""
_ATTRIBUTES = {"dim": "2", "bold": "1", "heading": "1", "italic": "3", "strike": "9"}
"""Style → number in the escape sequence, for bold, dim and similar text."""
_COLOURS = {
    "code": "36",
    "call": "36",
    "add": "32",
    "remove": "31",
    "error": "31",
    "done": "32",
    "agent 0": "35",
    "agent 1": "33",
    "agent 2": "34",
}
"""Style → number of its colour in the escape sequence."""
_WORD_OR_SPACES = re.compile(r"[ ]+|[^ ]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)", re.ASCII)
_NO_TIME = " " * len("00:00:00 ")


@dataclass(frozen=True, slots=True)
class Screen:
    """How lines are written. `width`: columns at which lines are wrapped; None: lines are not wrapped.

    `styles`: whether bold and dim text may be used, `colours`: whether colours may.
    """

    width: int | None = None
    styles: bool = False
    colours: bool = False
    times: bool = False
    """Each item begins with the time (UTC) of its event, if it has one."""


def terminal_lines(item: Item, screen: Screen) -> Iterator[str]:
    """The lines of an item, without newlines."""
    time, no_time = _time_columns(item.time) if screen.times else ("", "")
    width = None if screen.width is None else screen.width - len(time)
    if item.kind == "plain" and _fits(item.text, width):
        yield time + _painted(MARKERS["plain"], screen) + item.text
        return
    for row in item_rows(item, width or DEFAULT_WIDTH):
        for line in _wrapped(_neutral_row(row), width):
            painted = "".join(_painted(span, screen) for span in line)
            yield f"{time}{painted}" if time else painted
            time = no_time


def _fits(text: str, width: int | None) -> bool:
    """Whether a plain line needs neither wrapping nor replacements. Nearly all plain lines need none."""
    return len(text) < (width or DEFAULT_WIDTH) - 2 and _is_harmless(text)


def indented_lines(text: str, width: int) -> list[str]:
    """A neutral text in lines of at most `width` columns; those after the first one begin with two spaces."""
    row = Row((), (("", "  "),), (("", text),))
    return ["".join(part for _, part in line) for line in _wrapped(row, width)]


def clock_time(timestamp: str) -> str:
    """`12:30:59` of a time in ISO 8601; empty for any other text."""
    found = _TIME.match(timestamp)
    return found[1] if found else ""


def _time_columns(timestamp: str) -> tuple[str, str]:
    """The time before an item's first line, and the spaces before its further lines."""
    found = clock_time(timestamp)
    return (f"{found} " if found else _NO_TIME), _NO_TIME


def _painted(span: Span, screen: Screen) -> str:
    style, text = span
    code = _ATTRIBUTES.get(style, "") if screen.styles else ""
    if not code and screen.colours:
        code = _COLOURS.get(style, "")
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def _neutral_row(row: Row) -> Row:
    return Row(_neutral(row.first), _neutral(row.further), _neutral(row.spans))


def _neutral(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple((style, text if _is_harmless(text) else _one_line(text)) for style, text in spans)


def _is_harmless(text: str) -> bool:
    """Whether the text is printable ASCII, as most texts are, so that no character needs a replacement."""
    return text.isascii() and text.isprintable()


def _one_line(text: str) -> str:
    return neutral(text.replace("\n", " ")).expandtabs(4)


def _wrapped(row: Row, width: int | None) -> Iterator[list[Span]]:
    """The row in lines of at most `width` columns, broken at spaces where that is possible."""
    free = None if width is None else max(width - _width(row.first), NARROWEST_TEXT)
    if free is None or _width(row.spans) <= free:
        yield [*row.first, *row.spans]
        return
    line, used = [*row.first], 0
    assert width is not None  # noqa: S101  # because `free` is not None
    further = max(width - _width(row.further), NARROWEST_TEXT)
    for style, word, columns in _pieces(row.spans, min(free, further)):
        if used + columns > free and used:
            yield _without_trailing_spaces(line)
            line, used, free = [*row.further], 0, further
            if word.isspace():
                continue
        line.append((style, word))
        used += columns
    yield line


def _without_trailing_spaces(line: list[Span]) -> list[Span]:
    style, text = line[-1]
    return [*line[:-1], (style, text.rstrip())]


def _pieces(spans: tuple[Span, ...], longest: int) -> Iterator[tuple[str, str, int]]:
    """Style, text and width of each word and each run of spaces; no piece is wider than `longest`."""
    for style, text in spans:
        for word in _WORD_OR_SPACES.findall(text):
            columns = cell_width(word)
            if columns <= longest:
                yield style, word, columns
            else:
                parts = _parts(word, min(longest, PART_COLUMNS))
                yield from ((style, part, cell_width(part)) for part in parts)


def _parts(word: str, longest: int) -> Iterator[str]:
    """The word in parts of at most `longest` columns."""
    if word.isascii():
        yield from (word[start : start + longest] for start in range(0, len(word), longest))
        return
    start = used = 0
    for index, char in enumerate(word):
        columns = char_width(char)
        if used + columns > longest:
            yield word[start:index]
            start, used = index, 0
        used += columns
    yield word[start:]


def _width(spans: tuple[Span, ...]) -> int:
    return sum(cell_width(text) for _, text in spans)
