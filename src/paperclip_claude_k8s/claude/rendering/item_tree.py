"""The items of a whole run as a tree: results and sub-agents below their calls."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from paperclip_claude_k8s.claude.rendering.items import Item


@dataclass(slots=True)
class Node:
    """An item with what is shown below it."""

    item: Item
    output: Item | None = None
    """Of a call: its result."""
    children: "list[Node]" = field(default_factory=list)
    """Of a call: the items of the sub-agent that it started."""


def item_tree(items: Iterable[Item]) -> list[Node]:
    """The nodes at the top level. A result, or a sub-agent's item, is among them if its call is missing."""
    roots: list[Node] = []
    calls: dict[str, Node] = {}
    for item in items:
        call = calls.get(item.call_id) if item.kind == "output" else None
        if call is not None and call.output is None:
            call.output = item
            continue
        node = Node(item)
        parent = calls.get(item.agent.call_id) if item.agent is not None else None
        (roots if parent is None else parent.children).append(node)
        if item.kind == "call" and item.call_id and item.call_id not in calls:
            calls[item.call_id] = node
    return roots
