"""Entries for the change that a call makes to a file or to the list of tasks. They follow the call."""

from collections.abc import Callable, Iterator, Mapping

from paperclip_claude_k8s.claude.ui.values import (
    Entry,
    Json,
    clipped,
    counted,
    objects_of,
    short,
    text_of,
    whole,
)

MAX_CHANGE_LINES = 20
"""Largest number of lines that are shown of one call's change."""
MAX_CHANGE_CHARS = 500
"""Largest number of characters that are shown of one such line."""
CONTEXT_LINES = 2
"""Unchanged lines that are shown before and after a change."""
MAX_COMPARED = 10_000
"""Largest number of pairs of an old and a new line that are compared. If there are more, all old lines are
shown as removed and all new lines as added."""
MAX_TODOS = 50
MAX_LINES = 1000
"""Largest number of lines of one text that are compared."""
MAX_EDITS = 50
"""Largest number of edits of one call that are compared."""

_MARKS = {"completed": "[x]", "in_progress": "[>]"}
"""Status of a task → its checkbox."""
_Change = tuple[str, str]
"""`changeType` of a diff entry, and the line."""


def change_entries(name: str, call: Json, call_id: str) -> list[Entry]:
    """Entries of kind `diff`, or one of kind `system` with a checklist; none for any other call."""
    link = {"toolUseId": call_id} if call_id else {}
    if name == "TodoWrite":
        text = _checklist(objects_of(call, "todos"))
        return [{"kind": "system", "text": text, **link}] if text else []
    changes_of = _CHANGES.get(name)
    changes, further = changes_of(call) if changes_of else ([], 0)
    if not changes:
        return []
    path = short(text_of(call, "file_path") or text_of(call, "notebook_path")) or "?"
    more = max(len(changes) - MAX_CHANGE_LINES, 0) + further
    shown: list[_Change] = [("file_header", path), *changes[:MAX_CHANGE_LINES]]
    if more:
        shown.append(("truncation", counted(more, "more line")))
    return [
        {"kind": "diff", "changeType": kind, "text": clipped(line, MAX_CHANGE_CHARS), **link}
        for kind, line in shown
    ]


def _checklist(todos: list[Json]) -> str:
    lines = [
        f"{_MARKS.get(text_of(todo, 'status'), '[ ]')} {short(text_of(todo, 'content'))}" for todo in todos
    ]
    more = len(lines) - MAX_TODOS
    return "\n".join(lines[:MAX_TODOS] + ([f"... {whole(more)} more"] if more > 0 else []))


def _edit(call: Json) -> tuple[list[_Change], int]:
    """The change, and the number of further lines that were not compared."""
    old, new = text_of(call, "old_string"), text_of(call, "new_string")
    changes = list(_difference(_lines(old), _lines(new)))
    if changes and call.get("replace_all") is True:
        changes.insert(0, ("hunk", "every occurrence"))
    return changes, max(_further_lines(old), _further_lines(new))


def _multi_edit(call: Json) -> tuple[list[_Change], int]:
    edits, changes, further = objects_of(call, "edits"), list[_Change](), 0
    for number, edit in enumerate(edits, 1):
        changes.append(("hunk", f"edit {whole(number)} of {whole(len(edits))}"))
        if number <= MAX_EDITS:
            changed, more = _edit(edit)
            changes += changed
            further += more
    return changes, further


def _written(key: str) -> Callable[[Json], tuple[list[_Change], int]]:
    """A function that returns the change of a call whose field `key` has the new content."""

    def changes(call: Json) -> tuple[list[_Change], int]:
        text = text_of(call, key)
        return [("add", line) for line in _lines(text)], _further_lines(text)

    return changes


_CHANGES: Mapping[str, Callable[[Json], tuple[list[_Change], int]]] = {
    "Edit": _edit,
    "MultiEdit": _multi_edit,
    "NotebookEdit": _written("new_source"),
    "Write": _written("content"),
}
"""Tool → function that returns the change of a call, and the number of further lines."""


def _lines(text: str) -> list[str]:
    """The first lines, without newlines. A newline at the end of the text does not begin a line."""
    return text.removesuffix("\n").split("\n", MAX_LINES)[:MAX_LINES] if text else []


def _further_lines(text: str) -> int:
    return max(text.removesuffix("\n").count("\n") + 1 - MAX_LINES, 0)


def _difference(old: list[str], new: list[str]) -> Iterator[_Change]:
    """Removed and added lines, with a few unchanged ones around them."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    changed = _changed_lines(old[start : len(old) - end], new[start : len(new) - end])
    before = [("context", line) for line in old[:start]]
    after = [("context", line) for line in old[len(old) - end :]]
    return _without_distant([*before, *changed, *after])


def _changed_lines(old: list[str], new: list[str]) -> list[_Change]:
    """The shortest change from one list to the other; all lines if more than `MAX_COMPARED` pairs exist."""
    if len(old) * len(new) > MAX_COMPARED:
        return [*(("remove", line) for line in old), *(("add", line) for line in new)]
    counts = _CommonCounts(old, new)
    changes: list[_Change] = []
    row = column = 0
    common = counts.after(0, 0)  # how many lines the rest of `old` has in common with the rest of `new`
    while common:
        if old[row] == new[column]:
            changes.append(("context", old[row]))
            row, column, common = row + 1, column + 1, common - 1
        elif counts.after(row + 1, column) == common:
            changes.append(("remove", old[row]))
            row += 1
        else:
            changes.append(("add", new[column]))
            column += 1
    return [*changes, *(("remove", line) for line in old[row:]), *(("add", line) for line in new[column:])]


class _CommonCounts:
    """Lengths of the longest common subsequences of the ends of two lists of lines.

    Each row of the table of lengths is one integer (Hyyrö, "Bit-parallel LCS-length computation revisited",
    2004), because an agent can print thousands of edits: a table of numbers takes 70 times as long.
    """

    def __init__(self, old: list[str], new: list[str]) -> None:
        self._old, self._new = len(old), len(new)
        places: dict[str, int] = {}
        for index, line in enumerate(reversed(new)):
            places[line] = places.get(line, 0) | 1 << index
        full = (1 << len(new)) - 1
        rows, row = [0], full
        for line in reversed(old):
            found = row & places.get(line, 0)
            row = ((row + found) | (row - found)) & full
            rows.append(row ^ full)
        self._rows = rows
        """For each number of lines at the end of `old`: the bits at which the length grows, from the end of
        `new`."""

    def after(self, row: int, column: int) -> int:
        """The length for `old[row:]` and `new[column:]`."""
        bits = self._rows[self._old - row] & ((1 << (self._new - column)) - 1)
        return bits.bit_count()


def _without_distant(changes: list[_Change]) -> Iterator[_Change]:
    """Without unchanged lines that are far from all changes: one line stands for each run of them."""
    near: set[int] = set()
    for index, (kind, _) in enumerate(changes):
        if kind != "context":
            near.update(range(index - CONTEXT_LINES, index + CONTEXT_LINES + 1))
    gap = False
    for index, change in enumerate(changes if near else []):
        if index in near:
            yield change
        elif not gap:
            yield "hunk", "…"
        gap = index not in near
