"""What an operator sees on stderr while a run goes on."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.live import Live as RichLive
from rich.spinner import Spinner
from rich.text import Text

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.claude.accounting import UsageTracker
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.events import count
from paperclip_claude_k8s.claude.terminal import format_line, neutral

REFRESH = 4
"""Redraws of the footer per second: enough to look alive, too few to flicker."""
STATUS = "[paperclip] "
KEEPALIVE = "keepalive"
_COUNTED = (b'"type":"assistant"', b'"type":"result"', b'"subtype":"init"')
"""What a line holds that may count. Inside of strings its quotes would be escaped."""
_CONTEXT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Live:
    """The transcript as it comes; on a terminal with a footer of time, lines, tokens, cost and activity."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._began = time.monotonic()
        self._doing = "starting"
        self._spinner = Spinner("dots")
        self.lines = 0
        self.tokens = 0
        """Size of the agent's last request: what its context holds."""
        self._usage = UsageTracker()

    @property
    def cost(self) -> float | None:
        """What this run has cost by its last result, in US dollars; None while that is not known."""
        return self._usage.reported.for_run(resumed=None).cost_usd

    @property
    def moving(self) -> bool:
        """Whether there is a footer that tells by itself how the run goes on."""
        return self._console.is_terminal and not self._quiet

    def status(self, text: str) -> None:
        """One line of the adapter's own, from the host's callback."""
        self.tell("stdout", text.removesuffix("\n"))

    def agent(self, stream: str, block: bytes, new: bytes) -> None:
        """Lines of the agent; of those that were told before, only what they count is taken."""
        self.lines += block.count(b"\n")
        if stream == "stdout":
            for printed in block.split(b"\n"):
                self._count(printed)
        for line in new.decode("utf-8", "replace").removesuffix("\n").split("\n") if new else ():
            self.tell(stream, line)

    def tell(self, stream: str, line: str) -> None:
        """One line of the agent's output, or of the adapter's own."""
        if line.startswith(STATUS):
            self._doing = neutral(line.removeprefix(STATUS))
            if not (self.moving and self._doing.startswith(KEEPALIVE)):  # the footer says so by itself
                self._print(Text(self._doing, style="dim" if stream == "stdout" else "yellow"))
        elif stream == "stderr":
            self._print(Text(neutral(line), style="red"))
        else:
            for shown in format_line(line, colour=self._console.is_terminal):
                text = Text.from_ansi(shown)
                self._doing = text.plain
                self._print(text)

    def note(self, text: str) -> None:
        """Something of ours to remember."""
        self._print(Text(text, style="bold"))

    def progress(self, line: str) -> None:
        """One look at the run; where a footer moves, there is no need of it."""
        if not self.moving:
            self._print(Text(line))

    def elapsed(self) -> float:
        """Seconds since the view was opened."""
        return time.monotonic() - self._began

    def footer(self) -> Spinner:
        """Everything that moves, in one line that never wraps."""
        minutes, seconds = divmod(int(self.elapsed()), 60)
        parts = [f"{minutes}:{seconds:02d}", f"{self.lines} lines"]
        if self.tokens:
            parts.append(f"{_short(self.tokens)} tokens")
        if (cost := self.cost) is not None:
            parts.append(f"${cost:.4f}")
        text = Text("  ".join([*parts, self._doing]), style="cyan", no_wrap=True)
        text.truncate(max(self._console.width - 4, 20), overflow="ellipsis")
        self._spinner.update(text=text)
        return self._spinner

    def _count(self, line: bytes) -> None:
        if not any(sign in line for sign in _COUNTED):
            return
        for event, _ in events_on(line):
            match get_text(event, "type"), get_text(event, "subtype"):
                case "system", "init":
                    self._usage.init(event)
                case "result", _:
                    self._usage.result(event)
                case "assistant", _:
                    usage = get_object(get_object(event, "message"), "usage")
                    self.tokens = sum(count(usage, name) for name in _CONTEXT) or self.tokens

    def _print(self, text: Text) -> None:
        if not self._quiet:
            with suppress(OSError):  # who closed stderr, or has it on a full disk, still gets the run
                self._console.print(text, soft_wrap=not self._console.is_terminal)


def _short(count: int) -> str:
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


@asynccontextmanager
async def live_view(*, quiet: bool) -> AsyncIterator[Live]:
    """A view on stderr; colours and footer only where stderr is a terminal."""
    console = Console(stderr=True, highlight=False)
    live = Live(console, quiet=quiet)
    if not live.moving:
        yield live
        return
    with RichLive(get_renderable=live.footer, console=console, refresh_per_second=REFRESH, transient=True):
        yield live
