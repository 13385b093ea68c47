"""What the user sees on stderr during a run.

On a terminal: the transcript, and below it a footer with elapsed time, lines, tokens, cost and the latest
activity. Elsewhere: the transcript, and a progress line for each reported poll.

Every line of the agent has a bar before it, even if a terminal wraps the line. A line without a bar is the
adapter's or the command's, so a status line that an agent has forged can be told from a real one.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.live import Live as RichLive
from rich.spinner import Spinner
from rich.text import Text

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.accounting import UsageTracker
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.events import count
from paperclip_claude_k8s.claude.terminal import format_line

MAX_STDERR_BYTES = 16 * 1024
"""Bytes of a line on stderr that are shown."""
REDRAWS_PER_SECOND = 4
"""Enough that the spinner turns, too few to flicker."""
BAR = "│ "
"""Before each line of the agent's output."""
KEEPALIVE = "keepalive"
"""First word of the status line that the adapter repeats while the agent prints nothing."""
_USAGE_MARKERS = (b'"type":"assistant"', b'"type":"result"', b'"subtype":"init"')
"""Only lines with one of these are parsed. Text in a JSON string never matches: its quotes are escaped."""
_CONTEXT_TOKENS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class LiveView:
    """The view of one run."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._started = time.monotonic()
        self._activity = "starting"
        self._spinner = Spinner("dots")
        self.lines = 0
        """Lines of the agent's output so far, stdout and stderr."""
        self.tokens = 0
        """Tokens of the agent's latest request, which has its whole context."""
        self._usage = UsageTracker()

    @property
    def cost(self) -> float | None:
        """Cost of this run in US dollars, from its latest result event; None while it is unknown."""
        return self._usage.reported.for_run(resumed=None).cost_usd

    @property
    def has_footer(self) -> bool:
        return self._console.is_terminal and not self._quiet

    def show_status(self, text: str, *, warning: bool = False) -> None:
        """Show one status line of the adapter."""
        self._activity = neutral(text)
        if not (self.has_footer and text.startswith(KEEPALIVE)):  # the footer shows it already
            self._print(Text(self._activity, style="yellow" if warning else "dim"))

    def show_agent_output(self, stream: str, block: bytes, new: bytes) -> None:
        """Count the agent's lines in `block`, and show those in `new`.

        `new` is the part of `block` that was not shown in an earlier call for the same run.
        """
        self.lines += block.count(b"\n")
        if stream == "stdout":
            for line in block.split(b"\n"):
                self._count_usage(line)
        for line in new.removesuffix(b"\n").split(b"\n") if new else ():
            self.show_agent_line(stream, line)

    def show_agent_line(self, stream: str, line: bytes) -> None:
        """Show one line of the agent's output, or the beginning of a very long one."""
        if self._quiet:
            return
        if stream == "stderr":
            text = line[:MAX_STDERR_BYTES].decode("utf-8", "replace")
            self._print_with_bar(Text(neutral(text) + "…" * (len(line) > MAX_STDERR_BYTES), style="red"))
            return
        text = line[: LIMITS.host_chunk_bytes].decode("utf-8", "replace")
        for shown in format_line(text, colour=self._console.is_terminal):
            styled = Text.from_ansi(shown)
            self._activity = f"agent: {styled.plain}"
            self._print_with_bar(styled)

    def show_note(self, text: str) -> None:
        """Show a message of the command itself."""
        self._print(Text(neutral(text), style="bold"))

    def show_progress(self, line: str) -> None:
        """Show the result of a poll, unless the footer shows the progress."""
        if not self.has_footer:
            self._print(Text(neutral(line)))

    def elapsed(self) -> float:
        """Seconds since the view was opened."""
        return time.monotonic() - self._started

    def footer(self) -> Spinner:
        """The footer: one line, cut to the width of the terminal."""
        minutes, seconds = divmod(int(self.elapsed()), 60)
        parts = [f"{minutes}:{seconds:02d}", f"{self.lines} lines"]
        if self.tokens:
            parts.append(f"{_short(self.tokens)} tokens")
        if (cost := self.cost) is not None:
            parts.append(f"${cost:.4f}")
        text = Text("  ".join([*parts, self._activity]), style="cyan", no_wrap=True)
        text.truncate(max(self._console.width - 4, 20), overflow="ellipsis")
        self._spinner.update(text=text)
        return self._spinner

    def _count_usage(self, line: bytes) -> None:
        if not any(marker in line for marker in _USAGE_MARKERS):
            return
        for event, _ in events_on(line):
            match get_text(event, "type"), get_text(event, "subtype"):
                case "system", "init":
                    self._usage.take_version(event)
                case "result", _:
                    self._usage.add_result(event)
                case "assistant", _:
                    usage = get_object(get_object(event, "message"), "usage")
                    self.tokens = sum(count(usage, name) for name in _CONTEXT_TOKENS) or self.tokens

    def _print_with_bar(self, text: Text) -> None:
        width = max(self._console.width - len(BAR), 1)
        for line in text.wrap(self._console, width) if self._console.is_terminal else (text,):
            self._print(Text(BAR).append_text(line))

    def _print(self, text: Text) -> None:
        if not self._quiet:
            with suppress(OSError):  # a closed or full stderr does not affect the run
                self._console.print(text, soft_wrap=not self._console.is_terminal)


def with_bars(lines: str) -> str:
    """Lines of the agent as a text file shows them: neutral and with a bar, without a newline at the end."""
    return "\n".join(f"{BAR}{line}" for line in neutral(lines).removesuffix("\n").split("\n"))


def _short(count: int) -> str:
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


@asynccontextmanager
async def open_live_view(*, quiet: bool) -> AsyncIterator[LiveView]:
    """A view on stderr, with colours and footer if stderr is a terminal."""
    console = Console(stderr=True, highlight=False)
    live = LiveView(console, quiet=quiet)
    if not live.has_footer:
        yield live
        return
    with RichLive(
        get_renderable=live.footer, console=console, refresh_per_second=REDRAWS_PER_SECOND, transient=True
    ):
        yield live
