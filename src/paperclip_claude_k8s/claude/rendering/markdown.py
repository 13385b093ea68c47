"""Reads the Markdown that models write, line by line and in linear time.

Every line keeps its place, so text that is no Markdown, or broken Markdown, stays as it was written. Only
marks are removed, never text: the address of a link stays visible, and so does the language of a code block.

A full CommonMark parser would join and reorder lines, which a terminal and a live transcript do not need, and
its worst cases are slow: the text comes from an agent and may have megabytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Span = tuple[str, str]
"""Style (empty, bold, italic, strike, code, dim) and text."""
BlockKind = Literal["text", "heading", "item", "quote", "code", "rule", "table"]

MAX_STYLED_CHARS = 2000
"""A longer line is shown as it is."""
MAX_TABLE_ROWS = 500
MAX_COLUMNS = 30

_INLINE = re.compile(
    r"\\(?P<escaped>[\\`*_{}\[\]()#+.!|~>-])"
    r"|`(?P<code>[^`]{1,500})`"
    r"|\*\*(?P<bold>[^*\s][^*]{0,500})\*\*"
    r"|(?<![\w*])\*(?P<italic>[^*\s][^*]{0,500})\*(?![\w*])"
    r"|~~(?P<strike>[^~]{1,500})~~"
    r"|\[(?P<label>[^\[\]]{1,500})\]\((?P<address>[^()\s]{1,1000})\)"
)
_MARK = re.compile(r"[\\`*~\[]")
"""The first characters of what `_INLINE` finds."""
_HEADING = re.compile(r"(#{1,6})[ \t]+")
_ITEM = re.compile(r"([ \t]*)([-*+]|[0-9]{1,9}[.)])[ \t]+(?=\S)")
_QUOTE = re.compile(r"[ ]{0,3}>[ ]?")
_RULE = re.compile(r"[ ]{0,3}(?:-[ ]?){3,40}\Z|[ ]{0,3}(?:\*[ ]?){3,40}\Z|[ ]{0,3}(?:_[ ]?){3,40}\Z")
_FENCE = re.compile(r"[ ]{0,8}(`{3,20}|~{3,20})([^`]{0,100})\Z")
_DELIMITERS = re.compile(
    r"[ ]{0,3}\|?(?:[ ]{0,20}:?-{1,100}:?[ ]{0,20}\|){1,30}(?:[ ]{0,20}:?-{1,100}:?)?[ ]*\Z"
)
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """One line, or a table. `level`: of a heading, or the indentation of an item in characters."""

    kind: BlockKind
    spans: tuple[Span, ...] = ()
    level: int = 0
    marker: str = ""
    """Of an item: its bullet or number."""
    rows: tuple[tuple[tuple[Span, ...], ...], ...] = ()
    """Of a table: rows of cells, the heading first."""


def read_markdown(text: str) -> Iterator[Block]:
    """The blocks of the text, in order: one for each line, and one for a whole table.

    The lines that open and close a code block become no block, but the name of the language becomes one.
    """
    lines = text.strip("\r\n").split("\n")
    fence = ""
    index = 0
    while index < len(lines):
        line = lines[index].rstrip()
        index += 1
        if fence:
            if _closes(line, fence):
                fence = ""
            else:
                yield Block("code", (("code", line),))
        elif found := _FENCE.match(line):
            fence = found[1]
            if language := found[2].strip():
                yield Block("code", (("dim", language),))
        elif "|" in line and index < len(lines) and _DELIMITERS.match(lines[index].rstrip()):
            end = _end_of_table(lines, index)
            yield Block("table", rows=tuple(_cells(row) for row in [line, *lines[index + 1 : end]]))
            index = end
        else:
            yield _line_block(line)


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and bare == fence[0] * len(bare)


def _end_of_table(lines: list[str], delimiter_line: int) -> int:
    """The index after the last row. `delimiter_line`: the index of the line between heading and rows."""
    end = delimiter_line + 1
    last = min(len(lines), end + MAX_TABLE_ROWS)
    while end < last and "|" in lines[end]:
        end += 1
    return end


def _cells(line: str) -> tuple[tuple[Span, ...], ...]:
    bare = line.strip().removeprefix("|").removesuffix("|")
    return tuple(styled(cell.strip()) for cell in _CELL_END.split(bare, MAX_COLUMNS))


def _line_block(line: str) -> Block:
    if len(line) > MAX_STYLED_CHARS:
        return Block("text", (("", line),))
    if found := _HEADING.match(line):
        return Block("heading", styled(line[found.end() :].rstrip(" \t#")), level=len(found[1]))
    if _RULE.match(line):
        return Block("rule", (("dim", "─" * 20),))
    if found := _ITEM.match(line):
        marker = found[2] if found[2][0].isdigit() else "•"
        return Block("item", styled(line[found.end() :]), len(found[1].expandtabs(4)), marker)
    if found := _QUOTE.match(line):
        return Block("quote", styled(line[found.end() :]))
    return Block("text", styled(line))


def styled(line: str) -> tuple[Span, ...]:
    """The line as spans; a line above `MAX_STYLED_CHARS` is one span without a style."""
    if len(line) > MAX_STYLED_CHARS or not _MARK.search(line):
        return (("", line),) if line else ()
    return tuple(_spans(line, ""))


def _spans(line: str, outer_style: str) -> Iterator[Span]:
    position = 0
    for found in _INLINE.finditer(line):
        if found.start() > position:
            yield outer_style, line[position : found.start()]
        yield from _span(found, outer_style)
        position = found.end()
    if position < len(line):
        yield outer_style, line[position:]


def _span(found: re.Match[str], outer_style: str) -> Iterator[Span]:
    kind = found.lastgroup
    if kind == "escaped":
        yield outer_style, found[kind]
    elif kind == "address":
        label, address = found["label"], found["address"]
        yield outer_style, label
        if label != address:
            yield "dim", f" ({address})"
    elif kind == "code":
        yield "code", found[kind]
    elif kind is not None:
        yield from _spans(found[kind], outer_style or kind)
