"""Write the agent's output, or a part of it, to stdout: byte for byte, or as a transcript."""

import errno
import os
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
    """Which part of the output is printed, and whether each line gets a time."""

    since: datetime | None = None
    """Only lines that were written from this time on; None for all."""
    tail: int | None = None
    """Only the last so many of the lines that exist when the command begins are printed; None for all."""
    times: bool = False

    @property
    def is_unchanged_output(self) -> bool:
        """Whether all lines are printed, and none gets a time."""
        return self == LogPart()


class TimedLines:
    """Cuts output into lines, each with a time.

    The time of a line is the time at which it was written; if unknown, the time of its event; if it has none,
    the time of the line before it.
    """

    def __init__(self) -> None:
        self._partial = PartialLine()
        self._last: datetime | None = None

    def feed(self, content: bytes, written: datetime | None) -> Iterator[tuple[bytes, datetime | None]]:
        """The lines that this content completes, without newlines. `written`: None if unknown."""
        *pieces, rest = content.split(b"\n")
        for piece in pieces:
            self._partial.add(piece)
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
    """Selects the part of each block that is shown: the lines from a time on, or the whole block."""

    def __init__(self, since: datetime | None) -> None:
        self._since = since
        self._lines = TimedLines()
        self._reached = since is None

    def shown_part(self, block: bytes, written: datetime | None = None) -> bytes:
        """The part of the block that is shown: its lines from one on. Blocks consist of whole lines."""
        if self._reached:
            return block
        start = 0
        for line, time in self._lines.feed(block, written):
            if self._since is not None and time is not None and time >= self._since:
                self._reached = True
                return block[start:]
            start += len(line) + 1
        return b""


class RawPrinter:
    """Writes the agent's output to stdout as it is."""

    def __init__(self, part: LogPart | None = None) -> None:
        self._part = part or LogPart()
        self._lines = TimedLines()
        self._held: deque[bytes] | None = None if self._part.tail is None else deque(maxlen=self._part.tail)
        """The last of the lines that exist when the command begins; None once they are printed."""

    @property
    def holds_back(self) -> bool:
        """Whether nothing is printed before `print_held` is called."""
        return self._held is not None

    def print(self, content: bytes, written: datetime | None = None) -> None:
        """Print a part of the output. Raises `StdoutUnwritable`.

        `written`: when the agent wrote it; None if unknown.
        """
        if self._part.is_unchanged_output:
            self._write_unfiltered(content)
            return
        for line, time in self._lines.feed(content, written):
            if self._part.since is not None and (time is None or time < self._part.since):
                self._skip_line(line)
            else:
                self._emit(self._format_line(line, time))

    def print_held(self) -> None:
        """Print the held lines. The caller has passed all output to `print` that existed at the beginning."""
        held, self._held = self._held, None
        if held:
            write_stdout(b"".join(held))

    def finish(self, *, resumed: bool | None) -> None:  # noqa: ARG002  # only a transcript needs it
        """Print the rest: the run has ended. `resumed`: whether it had resumed a session; None if unknown."""
        if rest := self._lines.rest():
            self._emit(rest)
        self.print_held()

    def _write_unfiltered(self, content: bytes) -> None:
        write_stdout(content)

    def _skip_line(self, line: bytes) -> None:
        """Read a line that is not shown."""

    def _format_line(self, line: bytes, time: datetime | None) -> bytes:
        stamp = f"{format_time(time) if time else '-'} ".encode() if self._part.times else b""
        return stamp + line + b"\n"

    def _emit(self, lines: bytes) -> None:
        if self._held is None:
            write_stdout(lines)
        else:
            *whole, rest = lines.split(b"\n")  # `splitlines` would also end lines at CR
            self._held.extend([*(line + b"\n" for line in whole), *([rest] if rest else [])])


class TranscriptPrinter(RawPrinter):
    """Writes the agent's output to stdout as a transcript."""

    def __init__(self, part: LogPart | None = None) -> None:
        super().__init__(part)
        self._screen = screen_of(Console(highlight=False), times=self._part.times)
        self._agent = AgentOutput()

    def _write_unfiltered(self, content: bytes) -> None:
        lines = [line for line, _ in self._lines.feed(content, None)]
        for line in lines:
            self._agent.add_usage(line)
        write_stdout(self._agent.shown(lines, self._screen).encode())

    def _skip_line(self, line: bytes) -> None:
        self._agent.add_usage(line)
        self._agent.skip(line)  # later lines refer to this line

    def _format_line(self, line: bytes, time: datetime | None) -> bytes:
        self._agent.add_usage(line)
        now = format_time(time) if time is not None and self._part.times else ""
        return self._agent.shown([line], self._screen, now=now).encode()

    def finish(self, *, resumed: bool | None) -> None:
        if rest := self._lines.rest():
            self._emit(self._format_line(rest, None))
        self._emit(self._agent.shown_end(self._screen, resumed=resumed).encode())
        self.print_held()


def write_stdout(content: bytes) -> None:
    """Write to stdout. Raises `StdoutUnwritable`.

    The reason is also written to stderr, unless a reader such as `head` closed the pipe.
    """
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
