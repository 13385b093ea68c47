"""What an operator sees on stderr while a run goes on."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.live import Live as RichLive
from rich.spinner import Spinner
from rich.text import Text

from paperclip_claude_k8s.claude.terminal import format_line, neutral

REFRESH = 4
"""Redraws of the footer per second: enough to look alive, too few to flicker."""
STATUS = "[paperclip] "


class Live:
    """The transcript as it comes; on a terminal with a footer of elapsed time, lines and what it is doing."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._began = time.monotonic()
        self._doing = "starting"
        self._lines = 0

    async def on_log(self, stream: str, text: str) -> None:
        """The host's callback."""
        for line in text.removesuffix("\n").split("\n"):
            self.tell(stream, line)

    def tell(self, stream: str, line: str) -> None:
        """One line of the agent's output, or of the adapter's own."""
        self._lines += 1
        if line.startswith(STATUS):
            self._doing = neutral(line.removeprefix(STATUS))
            self._print(Text(self._doing, style="dim" if stream == "stdout" else "yellow"))
        elif stream == "stderr":
            self._print(Text(neutral(line), style="red"))
        else:
            for shown in format_line(line, colour=self._console.is_terminal):
                self._print(Text.from_ansi(shown))

    def _print(self, text: Text) -> None:
        if not self._quiet:
            self._console.print(text, soft_wrap=not self._console.is_terminal)

    def footer(self) -> Spinner:
        """Elapsed time and the last thing the adapter said, in one line."""
        elapsed = time.monotonic() - self._began
        minutes, seconds = divmod(int(elapsed), 60)
        text = Text(f"{minutes}:{seconds:02d}  {self._lines} lines  {self._doing}", style="cyan")
        text.truncate(max(self._console.width - 4, 20), overflow="ellipsis")
        return Spinner("dots", text)


@asynccontextmanager
async def live_view(*, quiet: bool) -> AsyncIterator[Live]:
    """A view on stderr; colours and footer only where stderr is a terminal."""
    console = Console(stderr=True, highlight=False)
    live = Live(console, quiet=quiet)
    if quiet or not console.is_terminal:
        yield live
        return
    with RichLive(get_renderable=live.footer, console=console, refresh_per_second=REFRESH, transient=True):
        yield live
