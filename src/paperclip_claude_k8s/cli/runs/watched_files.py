"""Show a run on which another process works, from the files that it writes.

Each time the files are read, the view shows new lines of the log, which has the adapter's lines and the
agent's stderr, and then new lines of the agent's stdout.
"""

from contextlib import suppress
from pathlib import Path

from paperclip_claude_k8s.cli.agent_output import BAR
from paperclip_claude_k8s.cli.live import KEEPALIVE, LiveView
from paperclip_claude_k8s.cli.log_printers import SinceFilter
from paperclip_claude_k8s.cli.runs.state import RunFiles

CHUNK = 1024 * 1024
"""Bytes that are read and shown at a time."""


class GrowingFile:
    """Returns the whole lines that were appended to a file since the last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._partial = b""

    @property
    def passed(self) -> int:
        """Bytes that were returned or skipped."""
        return self._offset - len(self._partial)

    def skip_existing(self) -> None:
        """Begin at the present end of the file."""
        with suppress(FileNotFoundError):
            self._offset = self._path.stat().st_size

    def read(self) -> bytes:
        """The next whole lines, at most `CHUNK` bytes and one line; b"" if there are none yet."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            read = file.read(CHUNK)
            self._offset += len(read)
            lines, newline, self._partial = (self._partial + read).rpartition(b"\n")
            return lines + newline
        return b""


class WatchedFiles:
    """The files of one run, as a view shows them."""

    def __init__(self, files: RunFiles, live: LiveView, since: SinceFilter | None = None) -> None:
        self._since = since or SinceFilter(None)
        self._stdout = GrowingFile(files.transcript)
        self._log = GrowingFile(files.log)
        self._live = live
        self.has_shown = False
        """Whether anything of the agent's stdout was shown."""

    @property
    def stdout_bytes(self) -> int:
        """Bytes of the agent's stdout that were shown."""
        return self._stdout.passed

    def skip_existing(self) -> None:
        """Show only what is written from now on."""
        for file in (self._stdout, self._log):
            file.skip_existing()

    def show_new(self) -> None:
        """Show what was appended to the files since the last call."""
        while lines := self._log.read():
            for line in lines.decode("utf-8", "replace").splitlines():
                self._show_log_line(line)
        while block := self._stdout.read():
            self.has_shown = True
            self._live.show_agent_output("stdout", block, self._since.shown_part(block))

    def show_rest_and_restart(self) -> None:
        """Show the rest, and set the view's counters to zero: the caller is going to read all output."""
        if self.has_shown:
            self.show_new()
            self._live.restart()

    def _show_log_line(self, line: str) -> None:
        if line.startswith(BAR):
            self._live.show_agent_lines("stderr", [line.removeprefix(BAR).encode()])
            return
        _time, _, text = line.partition(" ")
        if not text.startswith(KEEPALIVE):  # an old keepalive line shows nothing of the present
            self._live.show_status(text)
