"""Items as HTML. Those that a reader may want to fold are `details` elements."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from paperclip_claude_k8s.claude.rendering.elements import Html, element, joined_html
from paperclip_claude_k8s.claude.rendering.item_tree import Node
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.markdown import Block, Span, read_markdown
from paperclip_claude_k8s.claude.rendering.terminal_lines import clock_time
from paperclip_claude_k8s.claude.ui.values import counted, short

MAX_PRE_CHARS = 200_000
"""Largest number of characters of one text on the page. The middle of a longer text is left out; the saved
transcript has it."""
PEEK_CHARS = 120
"""Characters of an output or a thought that are shown while it is folded."""
MAX_NESTING = 20
"""Levels of sub-agents that are nested; the texts of deeper ones are lines of the last level."""
_CHANGED = frozenset({"add", "remove", "todo"})
_SIGNS = {"add": "+", "remove": "-"}
_TAGS = {"bold": "strong", "italic": "em", "strike": "s", "code": "code", "dim": "small"}
"""Style of a span → HTML tag."""


def node_html(node: Node, level: int = 0) -> Html:
    """One item with everything below it."""
    item = node.item
    if item.kind == "call":
        return _call_html(node, level)
    if item.kind == "output":
        return _output_html(item)
    if item.kind == "answer":
        return _entry(item, "section", markdown_html(item.text))
    if item.kind == "thinking":
        summary = element("summary", {}, _time_and_agent(item), "thinking ", _peek(item.text))
        return element("details", {"class": "e thinking"}, summary, _pre(item.text))
    return _entry(item, "div", element("p", {}, item.text))


def plain_html(lines: Iterable[str]) -> Html:
    """Lines that are no events, in one block."""
    return element("pre", {"class": "e plain"}, _bounded("\n".join(lines)))


def markdown_html(text: str) -> Html:
    """Markdown as HTML. A link is shown as text and address and cannot be clicked, as it may be a trap."""
    if len(text) > MAX_PRE_CHARS:
        return element("pre", {}, text)
    parts = []
    for kind, group in groupby(read_markdown(text), key=lambda block: block.kind):
        if kind == "code":
            lines = (joined_html([*map(_span, block.spans), "\n"]) for block in group)
            parts.append(element("pre", {"class": "code"}, *lines))
        elif kind == "text":
            parts += _paragraphs(group)
        else:
            parts += map(_block_html, group)
    return joined_html(parts)


def _paragraphs(blocks: Iterable[Block]) -> Iterator[Html]:
    """Lines of text as paragraphs, which empty lines separate."""
    for has_text, group in groupby(blocks, key=lambda block: any(text.strip() for _, text in block.spans)):
        if has_text:
            yield element("p", {}, *(joined_html([*map(_span, block.spans), "\n"]) for block in group))


def _block_html(block: Block) -> Html:
    inner = [_span(span) for span in block.spans]
    match block.kind:
        case "heading":
            return element(f"h{min(block.level + 2, 6)}", {}, *inner)
        case "item":
            marker = element("span", {"class": "marker"}, block.marker)
            return element("div", {"class": f"item level{min(block.level // 2, 5)}"}, marker, " ", *inner)
        case "quote":
            return element("blockquote", {}, *inner)
        case "table":
            rows = (
                element("tr", {}, *(element("td" if number else "th", {}, *map(_span, cell)) for cell in row))
                for number, row in enumerate(block.rows)
            )
            return element("table", {}, *rows)
        case _:
            return element("p", {"class": "rule"}, *inner)


def _span(span: Span) -> Html | str:
    style, text = span
    tag = _TAGS.get(style)
    return element(tag, {}, text) if tag else text


def _call_html(node: Node, level: int) -> Html:
    """A call as a `details` element, which is open if the call failed or shows a change, and else folded."""
    item, output = node.item, node.output
    failed = output is not None and output.failed
    changed = any(style in _CHANGED for style, _ in item.body)
    is_open = {"open": ""} if failed or changed else {}
    arguments = item.text.strip()
    summary = element(
        "summary",
        {},
        _time_and_agent(item),
        element("b", {}, item.name),
        " ",
        element("code", {}, short(arguments, 2 * PEEK_CHARS)),
        " ",
        _peek(_outcome(node)),
    )
    parts: list[Html] = [summary]
    if "\n" in arguments or len(arguments) > 2 * PEEK_CHARS:
        parts.append(_pre(arguments))
    parts += _body_html(item)
    parts += _children_html(node, level)
    if output is not None:
        parts.append(_output_pre(output))
    return element("details", {"class": "e call failed" if failed else "e call", **is_open}, *parts)


def _outcome(node: Node) -> str:
    if node.children:
        return counted(len(node.children), "item")
    if node.output is None:
        return "no result"
    return node.output.text if node.output.text.strip() else "(no output)"


def _children_html(node: Node, level: int) -> Iterator[Html]:
    if not node.children:
        return
    if level < MAX_NESTING:
        yield element("div", {"class": "agent"}, *(node_html(child, level + 1) for child in node.children))
    else:
        yield _pre("\n".join(child.item.text for child in node.children))


def _body_html(item: Item) -> Iterator[Html]:
    if item.body:
        lines = ((style, f"{_SIGNS.get(style, ' ')} {text}\n") for style, text in item.body)
        yield element(
            "pre", {"class": "change"}, *(element("span", {"class": kind}, line) for kind, line in lines)
        )


def _output_html(item: Item) -> Html:
    """A result whose call is missing."""
    heading = element("summary", {}, _time_and_agent(item), "result of ", element("b", {}, item.name))
    kind = "e call failed" if item.failed else "e call"
    return element("details", {"class": kind}, heading, _output_pre(item))


def _output_pre(item: Item) -> Html:
    text = item.text if item.text.strip() else "(no output)"
    return element("pre", {"class": "output failed" if item.failed else "output"}, _bounded(text))


def _entry(item: Item, tag: str, content: Html) -> Html:
    return element(tag, {"class": f"e {item.kind}"}, _time_and_agent(item), content)


def _time_and_agent(item: Item) -> Html:
    """The time of the item, and the label of its sub-agent."""
    time = clock_time(item.time)
    parts = [element("time", {}, time)] if time else []
    if item.agent is not None:
        parts.append(element("span", {"class": f"label agent{item.agent.number % 4}"}, item.agent.label))
    return joined_html(parts)


def _peek(text: str) -> Html:
    return element("small", {"class": "peek"}, short(text[: 4 * PEEK_CHARS], PEEK_CHARS))


def _pre(text: str) -> Html:
    return element("pre", {}, _bounded(text))


def _bounded(text: str) -> str:
    if len(text) <= MAX_PRE_CHARS:
        return text
    half = MAX_PRE_CHARS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
