"""Formats the agent's output as lines of text, and counts its tokens and cost for a footer."""

import re
from collections.abc import Iterable
from dataclasses import replace

from rich.console import Console

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.accounting import UsageTracker
from paperclip_claude_k8s.claude.answer_usage import AnswerUsage
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.events import count
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.items import Item
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines

BAR = "│ "
"""Stands before each line of the agent's output."""
MAX_TEXT_BYTES = 16 * 1024
"""Largest number of bytes shown of a line on stderr, or of a line on stdout that is too long for an event."""
_ESCAPES = re.compile("\x1b\\[[0-9]*m")
_USAGE_MARKERS = tuple(
    b'"%s":%s"%s"' % (key, blank, value)
    for blank in (b"", b" ")  # after the colon; the Claude CLI writes none, other programs do
    for key, value in ((b"type", b"assistant"), (b"type", b"result"), (b"subtype", b"init"))
)
"""Tokens and cost are read only from lines that contain one of these texts.

Text in a JSON string never matches, because its quotes are escaped.
"""
_CONTEXT_TOKEN_KEYS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Keys of a request's usage. The sum of their values is the number of tokens in the context."""


class AgentOutput:
    """Reads the agent's lines in order, and returns the lines that a person sees, with bars and newlines."""

    def __init__(self) -> None:
        self.context_tokens = 0
        """Input tokens of the main agent's latest request, which contains the whole context."""
        self.activity = ""
        """First line of the item that was shown last. Results of tool calls do not count as items here."""
        self._usage = UsageTracker()
        self._answers = AnswerUsage()
        self._reader = ItemReader()

    @property
    def total_tokens(self) -> int:
        """Input and output tokens of all requests of this run so far.

        The output tokens of an answer that is not finished are those that the Claude CLI has reported so far.
        """
        reported = replace(self._usage.reported, unfinished_tokens=self._answers.total)
        usage = reported.for_run(resumed=None).usage
        return 0 if usage is None else usage.input_tokens + usage.cached_input_tokens + usage.output_tokens

    @property
    def cost_usd(self) -> float | None:
        """Cost of this run in US dollars, from its latest result event; None while the cost is unknown."""
        return self._usage.reported.for_run(resumed=None).cost_usd

    def add_usage(self, line: bytes) -> None:
        """Add the tokens and the cost that a line of stdout reports."""
        if not any(marker in line for marker in _USAGE_MARKERS):
            return
        for event, _ in events_on(line):
            match get_text(event, "type"), get_text(event, "subtype"):
                case "system", "init":
                    self._usage.take_version(event)
                case "result", _:
                    self._usage.add_result(event)
                    self._answers.add_result(event)
                case "assistant", _:
                    self._answers.add_line(line)
                    if get_text(event, "parent_tool_use_id"):
                        continue  # a sub-agent has a context of its own
                    usage = get_object(get_object(event, "message"), "usage")
                    tokens = sum(count(usage, name) for name in _CONTEXT_TOKEN_KEYS)
                    self.context_tokens = tokens or self.context_tokens

    def skip(self, line: bytes) -> None:
        """Read a line of stdout without showing it, because later lines refer to it."""
        self._reader.read(_text_of(line))

    def shown(self, lines: Iterable[bytes], screen: Screen, *, now: str = "") -> str:
        """The text to show for lines of stdout.

        `now`: the time in ISO 8601 that all these lines get; "": each line gets the time of its event.
        """
        items = (item for line in lines for item in self._reader.read(_text_of(line)))
        return self._show_items(items, screen, now)

    def shown_stderr(self, lines: Iterable[bytes], screen: Screen, *, now: str = "") -> str:
        return self._show_items((Item("error", _beginning(line)) for line in lines), screen, now)

    def shown_end(self, screen: Screen, *, resumed: bool | None, now: str = "") -> str:
        """The lines that show how the agent ended. Another agent's output may follow.

        `resumed`: whether the run resumed an earlier session; None if unknown.
        """
        items = self._reader.finish(self._usage.reported.for_run(resumed=resumed))
        self._reader, self._usage, self._answers = ItemReader(), UsageTracker(), AnswerUsage()
        return self._show_items(items, screen, now)

    def _show_items(self, items: Iterable[Item], screen: Screen, now: str) -> str:
        shown: list[str] = []
        for item in items:
            lines = list(terminal_lines(replace(item, time=now) if now else item, screen))
            if lines and item.kind != "output":
                self.activity = _ESCAPES.sub("", lines[0]).strip()
            shown += lines
        return "".join(f"{BAR}{line}\n" for line in shown)


def screen_of(console: Console, *, times: bool) -> Screen:
    """How the agent's output is written to the console: wrapped and coloured on a terminal."""
    if not console.is_terminal:
        return Screen(times=times)
    styles = console.color_system is not None
    colours = styles and not console.no_color
    return Screen(console.width - len(BAR), styles=styles, colours=colours, times=times)


def with_bars(lines: str) -> str:
    """Lines of the agent for a text file: each with a bar, no control characters, no newline at the end."""
    return "\n".join(f"{BAR}{line}" for line in neutral(lines).removesuffix("\n").split("\n"))


def _text_of(line: bytes) -> str:
    return _beginning(line) if len(line) > LIMITS.host_chunk_bytes else line.decode("utf-8", "replace")


def _beginning(line: bytes) -> str:
    return line[:MAX_TEXT_BYTES].decode("utf-8", "replace") + "…" * (len(line) > MAX_TEXT_BYTES)
