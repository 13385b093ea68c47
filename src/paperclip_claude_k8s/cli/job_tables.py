"""The table of `claude-k8s jobs`."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from rich.cells import cell_len

from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.text_tables import Column, table

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
    rows: Sequence[Mapping[str, Any]],
    output: Format,
    *,
    namespaces: bool,
    header: bool = True,
    width: int | None = None,
) -> str:
    """The rows as a table. Ids are never cut: on a narrow terminal, names of Jobs are left out.

    `namespaces`: whether there is a column for the namespace. `header`: whether the names of the columns are
    printed. `width`: columns of the terminal; None for no limit.
    """
    columns = (_NAMESPACE, *_COLUMNS) if namespaces else _COLUMNS
    lines = table(rows, columns, output, width=None).split("\n")
    if width is not None and output is not Format.WIDE and max(map(cell_len, lines)) > width:
        shown = [column for column in columns if column.name != "job"]
        lines = table(rows, shown, output, width=None).split("\n")
    return "\n".join(lines if header else lines[1:])
