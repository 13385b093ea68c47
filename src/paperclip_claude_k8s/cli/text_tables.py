"""Tables and lists of facts as text, for `-o text` and `-o wide`."""

import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.formats import Format, is_terminal

GAP = 2
"""Spaces between two columns of a table."""
MAX_PADDED = 300
"""Width up to which cells are padded, so that one very long cell does not make every row as long."""
BELOW_INDENT = " " * 6
"""Stands before text that is written below a row."""
MIN_LAST_COLUMN = 12
"""Width in characters that the last column of a table keeps on a narrow terminal, whose lines then wrap."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    cell: Callable[[Mapping[str, Any]], object]
    wide: bool = False
    """Whether only `-o wide` shows the column."""
    align_right: bool = False
    """Whether cells end at the right edge of the column, as numbers do."""


def table(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[Column], output: Format, *, width: int | None
) -> str:
    """A table as lines of text. Only its last column is cut to `width`, so that ids can be copied.

    `width`: columns of the terminal; None for no limit. `-o wide` has no limit either.
    """
    shown = [column for column in columns if output is Format.WIDE or not column.wide]
    cells = [[_text(column.cell(row)) for column in shown] for row in rows]
    lines = [[column.name.upper() for column in shown], *cells]
    widths = [min(max(cell_len(line[index]) for line in lines), MAX_PADDED) for index in range(len(shown))]
    if width is not None and output is not Format.WIDE and not shown[-1].align_right:
        remaining = width - sum(widths[:-1]) - GAP * (len(shown) - 1)
        limit = max(remaining, MIN_LAST_COLUMN)
        lines = [[*line[:-1], _cut(line[-1], limit)] for line in lines]
    return "\n".join(_line(line, shown, widths) for line in lines)


def table_with_text(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[Column], text: Column, *, width: int | None
) -> str:
    """A table with sentences in its last column, `text`.

    A sentence that does not fit into `width` is written below its row, wrapped and never cut.
    """
    beginnings = table(rows, columns, Format.TEXT, width=None).split("\n")
    indent = max(map(cell_len, beginnings)) + GAP
    cells = [text.name.upper(), *(_text(text.cell(row)) for row in rows)]
    lines = [
        f"{set_cell_size(beginning, indent)}{cell}"
        if width is None or indent + cell_len(cell) <= width
        else f"{beginning}\n{BELOW_INDENT}{wrapped(cell, width, len(BELOW_INDENT))}"
        for beginning, cell in zip(beginnings, cells, strict=True)
    ]
    return "\n".join(lines)


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    """The text in lines up to `width`, all but the first one indented. Words such as ids are not cut."""
    if width is None or indent + cell_len(text) <= width:
        return text
    room = max(width - indent, MIN_LAST_COLUMN)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    aligned = [
        _padding(cell, width) + cell if column.align_right else cell + _padding(cell, width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    return (" " * GAP).join(aligned).rstrip()


def _padding(cell: str, width: int) -> str:
    return " " * (width - cell_len(cell))


def _cut(cell: str, width: int) -> str:
    return cell if cell_len(cell) <= width else f"{set_cell_size(cell, width - 1)}…"


def _text(value: object) -> str:
    """A cell: one line without characters that control a terminal."""
    return "-" if value is None or value == "" else neutral(" ".join(str(value).split()))


def facts(pairs: Iterable[tuple[str, object]], width: int | None = None) -> str:
    """Names and values, each pair on a line of its own; pairs without a value are left out.

    `width`: columns of the terminal, for which long values are wrapped.
    """
    known = [(name, _text(value)) for name, value in pairs if value not in (None, "")]
    indent = max((len(name) for name, _ in known), default=0) + GAP
    return "\n".join(f"{name:<{indent}}{wrapped(value, width, indent)}" for name, value in known)


def drawn(draw: Callable[[Console], None]) -> str:
    """The text that `draw` prints on a console, with colours if stdout is a terminal."""
    console = Console(highlight=False)
    with console.capture() as capture:
        draw(console)
    return capture.get().rstrip("\n")


def terminal_width() -> int | None:
    """Number of columns of the terminal; None if stdout is no terminal, so that nothing is cut."""
    return shutil.get_terminal_size().columns if is_terminal() else None
