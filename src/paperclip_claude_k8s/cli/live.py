"""Shows a run on stderr, or for `attach` on stdout.

A terminal gets the transcript, and below it a footer with elapsed time, lines, tokens, cost and the latest
activity. A file or pipe gets the transcript, and a progress line for each reported poll.

Every line of the agent has a bar before it, even if a terminal wraps the line. A line without a bar is the
adapter's or the command's, so a person can recognise a status line that an agent has forged. If such a line
quotes an agent and is wrapped, what follows is indented.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live as RichLive
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, indented_lines
from paperclip_claude_k8s.cli.agent_output import AgentOutput, screen_of
from paperclip_claude_k8s.cli.pipe_safe_console import PipeSafeConsole

REDRAWS_PER_SECOND = 4
"""With this number the spinner turns, and the footer does not flicker."""
KEEPALIVE = "keepalive"
"""First word of the status line that the adapter repeats while the agent prints nothing."""


class _Lines:
    """Lines that the console writes unchanged, because they are wrapped and coloured already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class _Writer:
    """Writes to a console. A failed write is noted in `error` and not raised, so that the run continues."""

    def __init__(self, console: Console) -> None:
        self.error: OSError | None = None
        """The error of the last failed write; None if every write succeeded."""
        self._console = console
        self._held: deque[str] | None = None
        """The last lines, while lines are held back; None while each line is written at once."""

    def hold_back(self, count: int) -> None:
        """Until `release` is called, only keep the agent's last `count` lines instead of writing them."""
        self._held = deque(maxlen=count)

    def release(self) -> None:
        """Write the lines that were held back. Later lines are written at once."""
        held, self._held = self._held, None
        if held:
            self.write("".join(held))

    def write(self, lines: str) -> None:
        """Write lines of the agent, which are wrapped and coloured already."""
        if self._held is not None:
            self._held.extend(lines.splitlines(keepends=True))
        else:
            self.print(_Lines(lines), end="", crop=False)

    def print(self, item: RenderableType, **options: Any) -> None:  # noqa: ANN401  # those of Console.print
        try:
            self._console.print(item, **options)
        except OSError as error:
            self.error = error


class LiveView:
    """The view of one run."""

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool,
        times: bool = False,
        recorded: bool = False,
        may_move: bool = True,
    ) -> None:
        """A view on the console.

        Args:
            console: where the run is shown.
            quiet: nothing is shown.
            times: each item of the transcript has its time in UTC.
            recorded: the output was recorded earlier, so its own times are shown, not the present time.
            may_move: false if the console's file is no terminal, although `rich` takes it for one, as it does
                with FORCE_COLOR.
        """
        self._may_move = may_move
        self._recorded = recorded
        self._console = console
        self._quiet = quiet
        self._times = times
        self._started = time.monotonic()
        self._activity = "starting"
        self._spinner = Spinner("dots")
        self.lines = 0
        """Lines of the agent's output so far, stdout and stderr."""
        self._agent = AgentOutput()
        self.writer = _Writer(console)

    @property
    def context_tokens(self) -> int:
        return self._agent.context_tokens

    @property
    def cost_usd(self) -> float | None:
        return self._agent.cost_usd

    @property
    def has_footer(self) -> bool:
        """Whether a last line is updated in place, which is impossible on a dumb terminal and in a pipe."""
        moves = self._console.is_terminal and not self._console.is_dumb_terminal
        return moves and self._may_move and not self._quiet

    def restart(self) -> None:
        """Set the counters to zero, because the output is going to be read from its beginning once more."""
        self.lines, self._agent = 0, AgentOutput()

    def show_status(self, text: str, *, warning: bool = False) -> None:
        """Show one status line of the adapter."""
        self._activity = _one_line(text)
        if not (self.has_footer and text.startswith(KEEPALIVE)):  # the footer shows it already
            self._print(Text(self._activity, style="yellow" if warning else "dim"))

    def show_agent_output(self, stream: str, block: bytes, new: bytes) -> None:
        """Count the agent's lines in `block`, and show those in `new`.

        `new` is the part of `block` that was not shown in an earlier call for the same run.
        """
        self.lines += block.count(b"\n")
        lines, shown = _lines_of(block), _lines_of(new)
        if stream == "stdout":
            for line in lines:
                self._agent.add_usage(line)
            if not self._quiet:
                for line in lines[: max(len(lines) - len(shown), 0)]:
                    self._agent.skip(line)
        self.show_agent_lines(stream, shown)

    def show_agent_lines(self, stream: str, lines: Iterable[bytes]) -> None:
        """Show lines of the agent's output, or the beginnings of very long ones."""
        if not self._quiet:
            show = self._agent.shown_stderr if stream == "stderr" else self._agent.shown
            self._write(show(lines, self._screen(), now=self._now()))

    def end_agent_output(self, *, resumed: bool | None) -> None:
        """Show how the agent ended. `resumed`: whether the run resumed a session; None if unknown."""
        if not self._quiet:
            self._write(self._agent.shown_end(self._screen(), resumed=resumed, now=self._now()))

    def _screen(self) -> Screen:
        return screen_of(self._console, times=self._times)

    def _now(self) -> str:
        return datetime.now(UTC).isoformat() if self._times and not self._recorded else ""

    def _write(self, lines: str) -> None:
        """Write lines in one step, because each step draws the footer again."""
        if lines:
            self._activity = f"agent: {self._agent.activity}"
            self.writer.write(lines)

    def counts(self) -> str:
        """Lines, tokens and cost so far, for a progress line."""
        parts = [f"lines={self.lines}"]
        parts += [f"tokens={total}"] if (total := self._agent.total_tokens) else []
        parts += [f"cost=${cost:.4f}"] if (cost := self.cost_usd) is not None else []
        return "  ".join(parts)

    def show_note(self, text: str) -> None:
        """Show a message of the command itself, in one line."""
        self._print(Text(_one_line(text), style="bold"))

    def show_progress(self, line: str) -> None:
        """Show the result of a poll, unless the footer shows the progress."""
        if not self.has_footer:
            self._print(Text(_one_line(line)))

    def elapsed(self) -> float:
        """Seconds since the view was opened."""
        return time.monotonic() - self._started

    def footer(self) -> Spinner:
        """The footer: one line, cut to the width of the terminal."""
        minutes, seconds = divmod(int(self.elapsed()), 60)
        parts = [f"{minutes}:{seconds:02d}", f"{self.lines} lines"]
        if self.context_tokens:
            parts.append(f"{_short(self.context_tokens)} context")
        if total := self._agent.total_tokens:
            parts.append(f"{_short(total)} tokens")
        if (cost := self.cost_usd) is not None:
            parts.append(f"${cost:.4f}")
        text = Text("  ".join([*parts, self._activity]), style="cyan", no_wrap=True)
        text.truncate(max(self._console.width - 4, 20), overflow="ellipsis")
        self._spinner.update(text=text)
        return self._spinner

    def _print(self, text: Text) -> None:
        if self._quiet:
            return
        if self._console.is_terminal:
            text.plain = "\n".join(indented_lines(text.plain, self._console.width))
        self.writer.print(text, soft_wrap=True)


def _is_tty(console: Console) -> bool:
    try:
        return console.file.isatty()
    except (AttributeError, ValueError):  # closed by the parent process, or by this one
        return False


def _lines_of(block: bytes) -> list[bytes]:
    return block.removesuffix(b"\n").split(b"\n") if block else []


def _one_line(text: str) -> str:
    """The text in one line: it may quote an agent, whose second line would look like one of the adapter."""
    return neutral(text.replace("\n", " "))


def _short(count: int) -> str:
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


@asynccontextmanager
async def open_live_view(
    *, quiet: bool, times: bool = False, stdout: bool = False
) -> AsyncIterator[LiveView]:
    """A view on stderr, or on stdout with `stdout`; it has colours and a footer on a terminal."""
    console = PipeSafeConsole(stderr=not stdout, highlight=False)
    live = LiveView(console, quiet=quiet, times=times, may_move=_is_tty(console))
    if not live.has_footer:
        yield live
        return
    with RichLive(
        get_renderable=live.footer, console=console, refresh_per_second=REDRAWS_PER_SECOND, transient=True
    ):
        yield live
