"""Records the first command of the README on a terminal, and writes the animation that the README shows.

Usage: `python -m tests.animation`. It writes `first-run.svg` beside the pages of the documentation.

The command is run once, on the embedded development cluster. What it writes goes through a terminal emulator.
Each screen that differs from the one before is a frame of the animation, shown for as long as it was there.
"""

import fcntl
import os
import pty
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyte
from tests.support.cli_commands import SOURCE

ARGUMENTS = ("run", "--devcluster", "--prompt", "Say hello.")
"""Arguments of the command, as in the README."""
TYPED = 'claude-k8s run --devcluster --prompt "Say hello."'
COLUMNS, ROWS = 100, 26
PATH = Path(SOURCE) / "paperclip_claude_k8s" / "docs" / "first-run.svg"
SLOWED = 2.5
"""The animation is slower than the command by this factor, so that one can read along."""
MIN_FRAME = 0.08
"""Seconds; of screens that were there for less, only the last one is shown."""
LAST_FRAME = 6.0
"""Seconds for which the last screen is shown before the animation begins again."""
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 12
BACKGROUND, FOREGROUND = "#1b1f24", "#d7dce2"
COLOURS = {
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",  # pyte's name of yellow
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "brightblack": "#8b949e",
}
"""Colours of the terminal, for a dark background."""
Line = tuple[tuple[str, str, bool], ...]
"""A line of the screen: pieces of text, each with its colour, and whether it is bold."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A screen, and the seconds from the start of the command at which it appeared."""

    at: float
    lines: tuple[Line, ...]


def record(arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[tuple[float, bytes]]:
    """Run the command on a terminal. Yields what it writes, each with the seconds since its start."""
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "paperclip_claude_k8s", *arguments]
        os.execve(sys.executable, command, dict(env))  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        while chunk := os.read(terminal, 65536):
            yield time.monotonic() - began, chunk
    except OSError:  # the command has closed the terminal
        pass
    os.close(terminal)
    os.waitpid(pid, 0)


def frames(written: Iterable[tuple[float, bytes]]) -> list[Frame]:
    """The screens that a terminal showed, beginning with the typed command."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {TYPED}\r\n".encode())
    found = [Frame(0.0, _lines(screen))]
    for at, chunk in written:
        stream.feed(chunk)
        lines = _lines(screen)
        if lines == found[-1].lines:
            continue
        if at - found[-1].at < MIN_FRAME and len(found) > 1:
            found[-1] = Frame(found[-1].at, lines)
        else:
            found.append(Frame(at, lines))
    return found


def _lines(screen: Any) -> tuple[Line, ...]:
    return tuple(_line(screen.buffer[row]) for row in range(ROWS))


def _line(cells: Mapping[int, Any]) -> Line:
    """The pieces of a line, without the blanks at its end."""
    shown = [cells[column] for column in range(COLUMNS)]
    while shown and shown[-1].data == " ":
        shown.pop()
    styles = groupby(shown, key=lambda cell: (COLOURS.get(cell.fg, FOREGROUND), cell.bold))
    return tuple(("".join(cell.data for cell in cells), colour, bold) for (colour, bold), cells in styles)


def svg(shown: Sequence[Frame]) -> str:
    """An animation of the frames.

    Each different line is drawn once and used by every frame that shows it. The frames stand side by side,
    and the animation moves from one to the next.
    """
    total = shown[-1].at + LAST_FRAME
    width, height = round(COLUMNS * CELL_WIDTH + 2 * MARGIN), ROWS * CELL_HEIGHT + 2 * MARGIN
    numbers: dict[Line, int] = {}
    uses = []
    for number, frame in enumerate(shown):
        for row, line in enumerate(frame.lines):
            if line:
                use = numbers.setdefault(line, len(numbers))
                y = MARGIN + (row + 1) * CELL_HEIGHT - 5
                uses.append(f'<use href="#l{use}" x="{number * width + MARGIN}" y="{y}"/>')
    positions = [f"{{transform:translateX(-{number * width}px)}}" for number in range(len(shown))]
    steps = [f"{100 * frame.at / total:.3f}%{to}" for frame, to in zip(shown, positions, strict=True)]
    drawn, used = "\n".join(_drawn(line, number) for line, number in numbers.items()), "\n".join(uses)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
  role="img" aria-label="A run on the development cluster">
<style>
text {{ font: 14px ui-monospace, Menlo, Consolas, monospace; white-space: pre }}
#frames {{ animation: play {total:.2f}s step-end infinite }}
@keyframes play {{ {" ".join(steps)} 100%{positions[-1]} }}
</style>
<defs>
{drawn}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>
<g id="frames">
{used}
</g>
</svg>
"""


def _drawn(line: Line, number: int) -> str:
    """One line. Each piece has its own place and length, whatever font the reader has."""
    pieces, column = [], 0
    for text, colour, bold in line:
        weight = ' font-weight="bold"' if bold else ""
        length = f' textLength="{len(text) * CELL_WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
        if text.strip():
            pieces.append(
                f'<tspan x="{column * CELL_WIDTH:.1f}" fill="{colour}"{weight}{length}>{escape(text)}</tspan>'
            )
        column += len(text)
    return f'<text id="l{number}">{"".join(pieces)}</text>'


def main() -> None:
    """Record the command, and write the animation."""
    with tempfile.TemporaryDirectory() as state:
        env = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": SOURCE,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "CLAUDE_K8S_STATE_DIR": state,
        }
        shown = frames((SLOWED * at, chunk) for at, chunk in record(ARGUMENTS, env))
    PATH.write_text(svg(shown), encoding="utf-8")
    durations = [later.at - earlier.at for earlier, later in pairwise(shown)]
    print(f"{PATH}: {len(shown)} frames, {shown[-1].at:.1f} s, the longest {max(durations):.1f} s")


if __name__ == "__main__":
    main()
