"""The table of `claude-k8s jobs`."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from rich.cells import cell_len

from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.text_tables import Column, table

ALIGNED_ROWS = 200
"""The last rows that a watch has shown, up to this number, determine the column widths of the next rows."""
WIDEST_ROW: Mapping[str, Any] = defaultdict(str, state="Terminating", age="119s")
"""A row with the longest ordinary state and age. Every watch makes its columns wide enough for them."""
_NAMESPACE = Column("namespace", itemgetter("namespace"))
_COLUMNS = (
    Column("run", itemgetter("run_id")),
    Column("state", itemgetter("state")),
    Column("age", itemgetter("age")),
    Column("agent", itemgetter("agent")),
    Column("job", itemgetter("job")),
    Column("pod", itemgetter("pod"), wide=True),
    Column("node", itemgetter("node"), wide=True),
    Column("task", itemgetter("task"), wide=True),
    Column("session", itemgetter("session"), wide=True),
    Column("image", itemgetter("image"), wide=True),
)


def jobs_table(
    rows: Sequence[Mapping[str, Any]], output: Format, *, namespaces: bool, width: int | None = None
) -> str:
    """The rows as a table. Ids of runs are never cut: on a narrow terminal, the column `job` is left out.

    `namespaces`: whether there is a column for the namespace. `width`: columns of the terminal; None for no
    limit.
    """
    columns = _fitting_columns(rows, output, namespaces=namespaces, width=width)
    return table(rows, columns, output, width=width)


def _fitting_columns(
    rows: Sequence[Mapping[str, Any]], output: Format, *, namespaces: bool, width: int | None
) -> tuple[Column, ...]:
    columns = (_NAMESPACE, *_COLUMNS) if namespaces else _COLUMNS
    lines = table(rows, columns, output, width=None).split("\n")
    if width is None or output is Format.WIDE or max(map(cell_len, lines)) <= width:
        return columns
    return tuple(column for column in columns if column.name != "job")


class GrowingTable:
    """A table that gets more rows later. All rows have the columns that were chosen for the first rows."""

    def __init__(self, output: Format, *, namespaces: bool, width: int | None) -> None:
        self._output = output
        self._namespaces = namespaces
        self._width = width
        self._columns: tuple[Column, ...] = ()
        self._shown: deque[Mapping[str, Any]] = deque([WIDEST_ROW], maxlen=ALIGNED_ROWS)

    def lines_of(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """The lines of more rows. The first call also returns a line with the names of the columns."""
        is_first = not self._columns
        if is_first:
            measured = [WIDEST_ROW, *rows]
            self._columns = _fitting_columns(
                measured, self._output, namespaces=self._namespaces, width=self._width
            )
        lines = table([*self._shown, *rows], self._columns, self._output, width=self._width).split("\n")
        self._shown.extend(rows)
        return [*(lines[:1] if is_first else []), *lines[-len(rows) :]]
