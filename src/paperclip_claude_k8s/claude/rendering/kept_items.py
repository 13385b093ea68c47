"""Keeps the first and the last items of a run in bounded memory: an agent can print any number of them."""

from collections import deque
from collections.abc import Iterator

from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.ui.values import counted

MAX_CHARS = 48 * 1024 * 1024
"""Largest number of characters of all kept items, with `ITEM_CHARS` added for each item. Long runs have a few
million."""
ITEM_CHARS = 400
"""The memory, and the place on a page, that an item needs beside its texts, in characters. Each line of its
body needs a quarter of this."""


class KeptItems:
    """Items in the order in which they were added; what does not fit is left out in the middle."""

    def __init__(self, limit: int = MAX_CHARS) -> None:
        """`limit`: characters, as in `MAX_CHARS`. Half of them is for the first items, half for the last."""
        self._half = limit // 2
        self._first: list[Item] = []
        self._last: deque[Item] = deque()
        self._first_chars = self._last_chars = 0
        self._left_out = 0

    def add(self, item: Item) -> None:
        chars = _chars_of(item)
        if not self._last and self._first_chars + chars <= self._half:
            self._first.append(item)
            self._first_chars += chars
            return
        self._last.append(item)
        self._last_chars += chars
        while self._last_chars > self._half and len(self._last) > 1:
            self._last_chars -= _chars_of(self._last.popleft())
            self._left_out += 1

    def __iter__(self) -> Iterator[Item]:
        """The kept items, with a note where others were left out."""
        yield from self._first
        if self._left_out:
            text = f"{counted(self._left_out, 'item')} left out here: the run has too many for a report"
            yield Item("note", text)
        yield from self._last


def _chars_of(item: Item) -> int:
    body = sum(len(text) + ITEM_CHARS // 4 for _, text in item.body)
    return len(item.text) + len(item.call_text) + len(item.name) + body + ITEM_CHARS
