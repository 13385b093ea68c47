"""Calls that change files or the list of tasks: the change as entries, which follow the entry of the call."""

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

MAX_CHANGE_LINES = 60
"""Lines of one call's change that are shown."""
MAX_CHANGE_CHARS = 500
"""Characters of one such line that are shown."""
CONTEXT_LINES = 2
"""Unchanged lines that are shown before and after a change."""
MAX_COMPARED = 10_000
"""Pairs of lines that are compared at most. A longer change is shown as removed and added lines."""
MAX_TODOS = 50

_MARKS = {"completed": "[x]", "in_progress": "[>]"}
_Change = tuple[str, str]
"""`changeType` of a diff entry, and the line."""


def change_entries(name: str, call: Json, call_id: str) -> list[Entry]:
    """Entries of kind `diff`, or one of kind `system` with a checklist; none for any other call."""
    link = {"toolUseId": call_id} if call_id else {}
    if name == "TodoWrite":
        text = _checklist(objects_of(call, "todos"))
        return [{"kind": "system", "text": text, **link}] if text else []
    describe = _CHANGES.get(name)
    changes = describe(call) if describe else []
    if not changes:
        return []
    path = short(text_of(call, "file_path") or text_of(call, "notebook_path")) or "?"
    shown: list[_Change] = [("file_header", path), *changes[:MAX_CHANGE_LINES]]
    if len(changes) > MAX_CHANGE_LINES:
        shown.append(("truncation", f"{counted(len(changes) - MAX_CHANGE_LINES, 'more line')}"))
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


def _edit(call: Json) -> list[_Change]:
    changes = list(_difference(_lines(text_of(call, "old_string")), _lines(text_of(call, "new_string"))))
    everywhere = changes and call.get("replace_all") is True
    return [("hunk", "every occurrence"), *changes] if everywhere else changes


def _multi_edit(call: Json) -> list[_Change]:
    edits, changes = objects_of(call, "edits"), []
    for number, edit in enumerate(edits, 1):
        changes += [("hunk", f"edit {whole(number)} of {whole(len(edits))}"), *_edit(edit)]
    return changes


def _write(call: Json) -> list[_Change]:
    return [("add", line) for line in _lines(text_of(call, "content"))]


def _notebook_edit(call: Json) -> list[_Change]:
    return [("add", line) for line in _lines(text_of(call, "new_source"))]


_CHANGES: Mapping[str, Callable[[Json], list[_Change]]] = {
    "Edit": _edit,
    "MultiEdit": _multi_edit,
    "NotebookEdit": _notebook_edit,
    "Write": _write,
}


def _lines(text: str) -> list[str]:
    """The lines without their ends; none for an empty text. A newline at the end does not begin a line."""
    return text.removesuffix("\n").split("\n") if text else []


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
    """The shortest change from one list to the other, or all lines if both are long."""
    if len(old) * len(new) > MAX_COMPARED:
        return [*(("remove", line) for line in old), *(("add", line) for line in new)]
    common = _common_counts(old, new)
    changes: list[_Change] = []
    row = column = 0
    while row < len(old) or column < len(new):
        if row < len(old) and column < len(new) and old[row] == new[column]:
            changes.append(("context", old[row]))
            row, column = row + 1, column + 1
        elif column == len(new) or (row < len(old) and common[row + 1][column] >= common[row][column + 1]):
            changes.append(("remove", old[row]))
            row += 1
        else:
            changes.append(("add", new[column]))
            column += 1
    return changes


def _common_counts(old: list[str], new: list[str]) -> list[list[int]]:
    """`counts[i][j]`: the length of the longest common subsequence of `old[i:]` and `new[j:]`."""
    counts = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for row in range(len(old) - 1, -1, -1):
        for column in range(len(new) - 1, -1, -1):
            counts[row][column] = (
                counts[row + 1][column + 1] + 1
                if old[row] == new[column]
                else max(counts[row + 1][column], counts[row][column + 1])
            )
    return counts


def _without_distant(changes: list[_Change]) -> Iterator[_Change]:
    """Replace unchanged lines that are far from any change by one line."""
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
