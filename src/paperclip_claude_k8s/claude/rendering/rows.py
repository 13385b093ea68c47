"""Items as rows of a terminal: spans with styles, and the prefix of each row."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.claude.rendering.cell_width import cell_width
from paperclip_claude_k8s.claude.rendering.excerpts import excerpt, shortened_line
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.markdown import Block, Span, read_markdown

FIRST_LINES, LAST_LINES = 8, 4
"""Lines at both ends of a tool's output, a thought or a sub-agent's text that are shown."""
FAILURE_LINES = 16
"""Lines at the end of a failed tool's output that are shown: they tell what went wrong."""
CALL_LINES = 6
"""Lines of a call's arguments that are shown."""
MAX_END_LINES = 100
"""Lines that are shown of the text that tells how a run ended."""
HEADING_CHARS = 200
"""Characters of a call's arguments that name the call beside its result."""

MARKERS: dict[str, Span] = {
    "session": ("dim", "· "),
    "answer": ("bold", "● "),
    "thinking": ("dim", "∴ "),
    "prompt": ("dim", "» "),
    "note": ("dim", "· "),
    "error": ("error", "! "),
    "plain": ("dim", "▪ "),
    "call": ("call", "→ "),
    "output": ("dim", "← "),
    "done": ("done", "✓ "),
    "failed": ("error", "✗ "),
}
"""Style and marker of each kind of item. Only the first row of an item has its marker in the first column."""
_TEXT_STYLES = {"answer": "", "plain": "", "error": "error", "done": "done", "failed": "error"}
_BODY_SIGNS = {
    "add": ("add", "+ "),
    "remove": ("remove", "- "),
    "context": ("dim", "  "),
    "hunk": ("dim", "  "),
    "truncation": ("dim", "… "),
    "todo": ("", ""),
    "prompt": ("dim", "» "),
}
"""Style and sign of each kind of line in an item's body."""
_INDENT: Span = ("", "  ")
_CALL_INDENT: Span = ("", "    ")
"""Before the lines below a call: those of its change, its prompt or its result."""

_Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row, which may be wrapped: the prefixes of its first and of its further lines, and its text."""

    first: _Line
    further: _Line
    spans: _Line


def item_rows(item: Item, width: int) -> Iterator[Row]:
    """The rows of an item. `width`: the terminal's columns, which a table uses; wrapping is done later."""
    prefix: _Line = ()
    if item.agent is not None:
        label = f"{'  ' * item.agent.depth}{item.agent.label} ┆ "
        prefix = ((f"agent {item.agent.number % 3}", label),)
        width -= cell_width(label)
    for row in _rows(item, width - 2):
        yield Row((*prefix, *row.first), (*prefix, *row.further), row.spans)


def _rows(item: Item, width: int) -> Iterator[Row]:
    match item.kind:
        case "call":
            yield from _call_rows(item)
        case "output":
            yield from _output_rows(item)
        case "answer":
            yield from _with_marker(item, _answer_lines(item, width))
        case _:
            yield from _with_marker(item, _text_lines(item))


def _with_marker(item: Item, lines: Iterable[_Line]) -> Iterator[Row]:
    first: Span = MARKERS[item.kind]
    for line in lines:
        yield Row((first,), (_INDENT,), line)
        first = _INDENT


def _call_rows(item: Item) -> Iterator[Row]:
    lines = list(_excerpt_lines(item.text, "", CALL_LINES, 0))
    arguments = (("", "  "), *lines[0]) if lines else ()
    yield Row((MARKERS["call"],), (_CALL_INDENT,), (("call", item.name), *arguments))
    yield from (Row((_CALL_INDENT,), (_CALL_INDENT,), line) for line in lines[1:])
    for kind, text in item.body:
        style, sign = _BODY_SIGNS.get(kind, ("", ""))
        yield Row(
            (_CALL_INDENT, (style, sign)),
            (_CALL_INDENT, ("", " " * len(sign))),
            ((style, shortened_line(text)),),
        )


def _output_rows(item: Item) -> Iterator[Row]:
    if not item.below_call:
        heading = shortened_line(" ".join(item.call_text.split())[:HEADING_CHARS])
        yield Row((MARKERS["output"],), (_CALL_INDENT,), (("dim", f"{item.name}  {heading}".rstrip()),))
    style = "error" if item.failed else "dim"
    if item.failed:
        first, last = 1, FAILURE_LINES
    else:
        first, last = (1, 0) if item.brief else (FIRST_LINES, LAST_LINES)
    lines = list(_excerpt_lines(item.text, style, first, last)) or [((style, "(no output)"),)]
    lines = [_first_sentence(lines[0])] if item.brief else lines
    prefix: Span = (style, "  ✗ ") if item.failed else _CALL_INDENT
    for line in lines:
        yield Row((prefix,), (_CALL_INDENT,), line)
        prefix = _CALL_INDENT


def _first_sentence(line: _Line) -> _Line:
    return tuple((style, text.partition(". ")[0]) for style, text in line)


def _text_lines(item: Item) -> Iterator[_Line]:
    style = _TEXT_STYLES.get(item.kind, "dim")
    whole = item.kind in {"done", "failed"}
    lines = _excerpt_lines(item.text, style, *((MAX_END_LINES, 0) if whole else (FIRST_LINES, LAST_LINES)))
    if item.kind == "thinking":
        first = next(lines, ())
        yield (("dim", "thinking: "), *first)
    yield from lines


def _answer_lines(item: Item, width: int) -> Iterator[_Line]:
    """All lines of the main agent's text, as it may be the answer; both ends of a sub-agent's text."""
    lines = (line for block in read_markdown(item.text) for line in _block_lines(block, width))
    if item.agent is None:
        yield from lines
        return
    shown = list(lines)
    left_out = len(shown) - FIRST_LINES - LAST_LINES
    if left_out <= 1:
        yield from shown
        return
    yield from shown[:FIRST_LINES]
    yield (_left_out(left_out),)
    yield from shown[-LAST_LINES:]


def _excerpt_lines(text: str, style: str, first: int, last: int) -> Iterator[_Line]:
    if not text.strip():
        return
    cut = excerpt(text, first, last)
    yield from (((style, shortened_line(line)),) for line in cut.first)
    if cut.left_out:
        yield (_left_out(cut.left_out),)
    yield from (((style, shortened_line(line)),) for line in cut.last)


def _left_out(count: int) -> Span:
    return "dim", f"… {count:,} {'line' if count == 1 else 'lines'} left out …"


def _block_lines(block: Block, width: int) -> Iterator[_Line]:
    """The lines of one block of Markdown."""
    match block.kind:
        case "heading":
            yield tuple(("heading", text) for _, text in block.spans)
        case "item":
            yield (("", f"{' ' * min(block.level, 40)}{block.marker} "), *block.spans)
        case "quote":
            yield (("dim", "▎ "), *block.spans)
        case "code":
            yield (("", "  "), *block.spans)
        case "table":
            yield from _table_lines(block, width)
        case _:
            yield block.spans


def _table_lines(block: Block, width: int) -> Iterator[_Line]:
    """Aligned columns, or the cells of each row in one line if the columns do not fit."""
    texts = [["".join(text for _, text in cell) for cell in row] for row in block.rows]
    columns = max(map(len, texts))
    widths = [0] * columns
    for row in texts:
        for index, text in enumerate(row):
            widths[index] = max(widths[index], cell_width(text))
    fits = sum(widths) + 2 * (columns - 1) <= width
    for number, cells in enumerate(block.rows):
        yield tuple(_row_spans(cells, widths if fits else [], header=number == 0))
        if number == 0 and fits:
            yield (("dim", "  ".join("─" * each for each in widths)),)


def _row_spans(row: tuple[_Line, ...], widths: list[int], *, header: bool) -> Iterator[Span]:
    """One row of a table. `widths`: of the columns; empty if the columns are not aligned."""
    for index, cell in enumerate(row):
        if index:
            yield ("", "  ") if widths else ("dim", " | ")
        yield from (("heading", text) for _, text in cell) if header else cell
        if widths and index + 1 < len(row):
            yield "", " " * (widths[index] - sum(cell_width(text) for _, text in cell))
