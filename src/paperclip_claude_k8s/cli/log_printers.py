"""Write the agent's output to stdout: byte for byte, or as a transcript; all of it, or a part."""

import errno
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.base.times import format_time, parse_time
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.partial_line import PartialLine
from paperclip_claude_k8s.cli.agent_output import AgentOutput, screen_of
from paperclip_claude_k8s.cli.entry import stdout_unwritable


@dataclass(frozen=True, slots=True)
class LogPart:
    """Which part of the output is printed, and whether with times."""

    since: datetime | None = None
    tail: int | None = None
    """How many lines of what is there already are printed; None for all."""
    times: bool = False

    @property
    def is_all(self) -> bool:
        return self == LogPart()


class TimedLines:
    """Cuts output into lines. A line has the time of its event, else when it was written, as far as known.

    A line without a time of its own has that of the line before it.
    """

    def __init__(self) -> None:
        self._partial = PartialLine()
        self._last: datetime | None = None

    def feed(self, content: bytes, written: datetime | None) -> Iterator[tuple[bytes, datetime | None]]:
        """The lines that this content completes, without newlines. `written`: None if unknown."""
        *ends, rest = content.split(b"\n")
        for end in ends:
            self._partial.add(end)
            line = self._partial.take()
            self._last = written or _time_of_event(line) or self._last
            yield line, self._last
        self._partial.add(rest)

    def rest(self) -> bytes:
        """The last line, if it has no newline."""
        return self._partial.take() if self._partial else b""


def _time_of_event(line: bytes) -> datetime | None:
    if b'"timestamp"' not in line:
        return None
    return next(
        (time for event, _ in events_on(line) if (time := parse_time(get_text(event, "timestamp")))), None
    )


class SinceFilter:
    """Tells which part of a block is to be shown: all of it, or the lines from a time on."""

    def __init__(self, since: datetime | None) -> None:
        self._since = since
        self._lines = TimedLines()
        self._reached = since is None

    def new(self, block: bytes, written: datetime | None = None) -> bytes:
        """The end of the block that is to be shown. Blocks consist of whole lines."""
        if self._reached:
            return block
        at = 0
        for line, time in self._lines.feed(block, written):
            if self._since is not None and time is not None and time >= self._since:
                self._reached = True
                return block[at:]
            at += len(line) + 1
        return b""


class RawPrinter:
    """Writes the agent's output to stdout as it is."""

    def __init__(self, part: LogPart | None = None) -> None:
        self._part = part or LogPart()
        self._lines = TimedLines()
        self._held: deque[bytes] | None = None if self._part.tail is None else deque(maxlen=self._part.tail)
        """The last lines of what is there already; None once they are printed."""

    @property
    def holds_back(self) -> bool:
        """Whether nothing is printed before `caught_up` is called."""
        return self._held is not None

    def print(self, content: bytes, written: datetime | None = None) -> None:
        """Print a part of the output. Raises `StdoutUnwritable`.

        `written`: when the agent wrote it; None if unknown.
        """
        if self._part.is_all:
            self._write_all(content)
            return
        for line, time in self._lines.feed(content, written):
            if self._part.since is not None and (time is None or time < self._part.since):
                self._left_out(line)
            else:
                self._emit(self._shown(line, time))

    def caught_up(self) -> None:
        """All that the agent had written at the beginning was passed to `print`."""
        held, self._held = self._held, None
        if held:
            write_stdout(b"".join(held))

    def finish(self, *, resumed: bool | None) -> None:  # noqa: ARG002  # for a transcript
        """The run has ended. `resumed`: whether it resumed a session; None if unknown."""
        if rest := self._lines.rest():
            self._emit(rest)
        self.caught_up()

    def _write_all(self, content: bytes) -> None:
        write_stdout(content)

    def _left_out(self, line: bytes) -> None:
        """A line is not shown."""

    def _shown(self, line: bytes, time: datetime | None) -> bytes:
        stamp = f"{format_time(time) if time else '-'} ".encode() if self._part.times else b""
        return stamp + line + b"\n"

    def _emit(self, lines: bytes) -> None:
        if self._held is None:
            write_stdout(lines)
        else:
            self._held.extend(lines.splitlines(keepends=True))


class TranscriptPrinter(RawPrinter):
    """Writes the agent's output to stdout as a transcript."""

    def __init__(self, part: LogPart | None = None) -> None:
        super().__init__(part)
        self._screen = screen_of(Console(highlight=False), times=self._part.times)
        self._agent = AgentOutput()

    def _write_all(self, content: bytes) -> None:
        lines = [line for line, _ in self._lines.feed(content, None)]
        for line in lines:
            self._agent.count(line)
        write_stdout(self._agent.shown(lines, self._screen).encode())

    def _left_out(self, line: bytes) -> None:
        self._agent.count(line)
        self._agent.skip(line)  # because later lines refer to it

    def _shown(self, line: bytes, time: datetime | None) -> bytes:
        self._agent.count(line)
        now = format_time(time) if time is not None and self._part.times else ""
        return self._agent.shown([line], self._screen, now=now).encode()

    def finish(self, *, resumed: bool | None) -> None:
        if rest := self._lines.rest():
            self._emit(self._shown(rest, None))
        self._emit(self._agent.shown_end(self._screen, resumed=resumed).encode())
        self.caught_up()


def stdout_is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def terminal_width() -> int | None:
    """The width of the terminal that stdout is; None if it is none."""
    return shutil.get_terminal_size().columns if stdout_is_terminal() else None


def write_stdout(content: bytes) -> None:
    """Raises `StdoutUnwritable`, and explains it on stderr unless a reader such as `head` closed the pipe."""
    try:
        if sys.stdout is None:  # the parent process closed it
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # noqa: TRY301  # as a write would
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise stdout_unwritable(b"") from None
    except OSError as error:
        message = f"Cannot write the log to stdout ({error.strerror or error})\n"
        raise stdout_unwritable(message.encode()) from None
