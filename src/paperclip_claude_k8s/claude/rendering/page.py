"""A run as one HTML page that needs nothing else: no network, no other file."""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import groupby

from paperclip_claude_k8s.claude.rendering.elements import Html, element
from paperclip_claude_k8s.claude.rendering.item_tree import Node, item_tree
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.page_items import node_html, plain_html
from paperclip_claude_k8s.claude.ui.values import duration

CHUNK_NODES = 40
"""Number of nodes in one part of the page. Browsers lay out only the parts that are visible."""
PLAIN_LINES = 400
"""Largest number of plain lines in one block."""
TIMELINE_WIDTH = 1000
"""Width of the timeline, in its own units."""
MIN_BAR_WIDTH = 3
"""Width of the bar of a very short phase, in the same units. The last bar may exceed the timeline by this."""


_TIMELINE_BOX = {
    "viewBox": f"0 0 {TIMELINE_WIDTH + MIN_BAR_WIDTH} 10",
    "preserveAspectRatio": "none",
    "aria-hidden": "true",
}
_STATUS_CLASSES = {"succeeded": "good", "failed": "bad", "cancelled": "bad"}
_BUTTONS = (("previous", "↑"), ("next", "↓"), ("unfold", "Unfold all"), ("fold", "Fold all"))


@dataclass(frozen=True, slots=True)
class PageHeader:
    """What the page says of the run as a whole, as plain texts: `page` escapes them."""

    title: str
    status: str
    """succeeded, failed, cancelled, or another state, such as polling."""
    message: str = ""
    """Why the run failed."""
    facts: tuple[tuple[str, str], ...] = ()
    """Name and value, such as ("cost", "$0.01")."""
    phases: tuple[tuple[str, int], ...] = ()
    """Name and milliseconds of each phase, in order."""


def page(header: PageHeader, items: Iterable[Item]) -> Iterator[str]:
    """The page in parts, which a caller writes one after the other."""
    style, script = _file("report.css"), _file("report.js")
    policy = _security_policy(style, script)
    yield '<!DOCTYPE html>\n<html lang="en">\n'
    yield element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, header.title),
        Html(f"<style>{style}</style>"),
    ).code
    yield "\n<body>\n"
    yield _header_html(header).code + _search_bar().code
    yield "\n<main>\n"
    for chunk in _chunks(item_tree(items)):
        yield element("div", {"class": "chunk"}, *chunk).code + "\n"
    yield "</main>\n"
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _chunks(nodes: list[Node]) -> Iterator[list[Html]]:
    chunk: list[Html] = []
    for is_plain, group in groupby(nodes, key=lambda node: node.item.kind == "plain"):
        members = list(group)
        if is_plain:
            blocks = [members[start : start + PLAIN_LINES] for start in range(0, len(members), PLAIN_LINES)]
            parts = (plain_html([node.item.text for node in block]) for block in blocks)
        else:
            parts = (node_html(node) for node in members)
        for part in parts:
            chunk.append(part)
            if len(chunk) == CHUNK_NODES:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def _header_html(header: PageHeader) -> Html:
    facts = []
    for name, value in header.facts:
        if value:
            facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)))
    return element(
        "header",
        {},
        element("h1", {}, header.title),
        element("p", {"class": f"status {_STATUS_CLASSES.get(header.status, 'open')}"}, header.status),
        element("pre", {"class": "message"}, header.message) if header.message else "",
        element("dl", {}, *facts),
        _timeline(header.phases),
    )


def _timeline(phases: tuple[tuple[str, int], ...]) -> Html | str:
    """For each phase its duration and a bar, which starts where the bar of the phase before it ends."""
    total = sum(milliseconds for _, milliseconds in phases)
    if total <= 0:
        return ""
    rows, start = [], 0
    for name, milliseconds in phases:
        x, width = (TIMELINE_WIDTH * each // total for each in (start, milliseconds))
        bar = {"x": str(x), "y": "0", "width": str(max(width, MIN_BAR_WIDTH)), "height": "10"}
        row = (
            element("span", {"class": "phase"}, name),
            element("svg", _TIMELINE_BOX, element("rect", bar)),
            element("span", {"class": "length"}, duration(milliseconds)),
        )
        rows.append(element("li", {}, *row))
        start += milliseconds
    return element("ol", {"class": "timeline", "aria-label": "phases"}, *rows)


def _search_bar() -> Html:
    field = {"id": "query", "type": "search", "placeholder": "Search ( / )", "aria-label": "Search"}
    buttons = (element("button", {"id": name, "type": "button"}, label) for name, label in _BUTTONS)
    count = element("span", {"id": "count", "role": "status"})
    return element("div", {"class": "bar"}, element("input", field), count, *buttons)


def _security_policy(style: str, script: str) -> str:
    """Only the page's own style and script work: no request is possible, whatever a text contains."""
    own = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _file(name: str) -> str:
    return files("paperclip_claude_k8s.claude.rendering").joinpath(name).read_text(encoding="utf-8")
