"""The agent's stdout as text for people, for hosts whose page shows lines as they are.

Such a page removes blanks at both ends of a line and leaves out empty lines. Therefore, indented lines begin
with a bar.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.threads import DaemonThreads
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines

BAR = "│"
"""Stands in place of the first blank of a line that is indented, and for an empty line."""
LINE_CHARS = 1500
"""Longer lines are broken at a blank: at most 6 kB, so that a line fits into one chunk of the host's log."""
BEGINNING_BYTES = 16 * 1024
"""Bytes that are read of a line that is too long."""
LARGE_BLOCK = 16 * 1024
"""Bytes from which on a block is read in a thread. A smaller block takes a few milliseconds; an agent can
print larger ones, which take much longer."""
_threads = DaemonThreads(4)


@dataclass(frozen=True, slots=True)
class Activity:
    """What the agent is doing: the call that has no result yet, and the beginning of its last text."""

    tool: str = ""
    call: str = ""
    """The arguments of the call."""
    text: str = ""


class ReadableOutput:
    """Reads the lines of one agent in order, and returns their text, whatever they contain."""

    def __init__(self) -> None:
        self.activity = Activity()
        self._reader = ItemReader()

    async def text_of(self, block: bytes) -> str:
        """The text of whole lines of stdout; empty if they show nothing."""
        if len(block) < LARGE_BLOCK:
            return self._read(block)
        return await asyncio.get_running_loop().run_in_executor(_threads, self._read, block)

    def _read(self, block: bytes) -> str:
        return "".join(self._text(self._reader.read(_decode(line))) for line in block.split(b"\n"))

    def end(self, usage: RunUsage) -> str:
        """How the agent ended and what it used. Lines that are read later belong to another agent."""
        items = self._reader.finish(usage)
        self._reader, self.activity = ItemReader(), Activity()
        return self._text(items)

    def _text(self, items: Iterable[Item]) -> str:
        shown: list[str] = []
        for item in items:
            self.activity = _activity_after(self.activity, item)
            shown += (part for line in terminal_lines(item, Screen()) for part in _parts(_with_bar(line)))
        return "".join(f"{line}\n" for line in shown)


def _activity_after(activity: Activity, item: Item) -> Activity:
    match item.kind:
        case "call":
            return Activity(item.name, _excerpt(item.text), activity.text)
        case "output":
            return Activity(text=activity.text)
        case "answer" if item.agent is None:
            return Activity(text=_excerpt(item.text))
        case _:
            return activity


def _excerpt(text: str) -> str:
    """The beginning of a text, in one line."""
    return " ".join(text[: LIMITS.text_chars].split())


def _decode(line: bytes) -> str:
    """The line as text; of a line that is too long, its beginning."""
    if len(line) <= LIMITS.readable_line_bytes:
        return line.decode("utf-8", "replace")
    return line[:BEGINNING_BYTES].decode("utf-8", "replace") + "…"


def _with_bar(line: str) -> str:
    return BAR + line[1:] if line.startswith(" ") or not line else line


def _parts(line: str) -> Iterator[str]:
    while len(line) > LINE_CHARS:
        end = line.rfind(" ", LINE_CHARS // 2, LINE_CHARS) + 1 or LINE_CHARS
        yield line[:end]
        line = f"{BAR} {line[end:]}"
    yield line
