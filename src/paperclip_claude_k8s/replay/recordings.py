"""Reads the lines of recorded output."""

import gzip
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.replay.recording_formats import RecordingFormat, Stream

STDIN = Path("-")
GZIP_START = b"\x1f\x8b"
SKIPPED_CHUNK = 256 * 1024
"""Bytes per read while the rest of a line that is too long is skipped."""


@contextmanager
def open_recording(path: Path) -> Iterator[BinaryIO]:
    """The file, decompressed if it is gzipped; the path `-` is stdin, which stays open.

    Opening and reading raise `OSError`, `EOFError` or `zlib.error`.
    """
    with ExitStack() as opened:
        source: Any
        if path == STDIN:
            source = BufferedReader(sys.stdin.buffer)
            opened.callback(source.detach)
        else:
            source = opened.enter_context(path.open("rb"))
        if path.suffix == ".gz" or source.peek(len(GZIP_START)).startswith(GZIP_START):
            source = opened.enter_context(gzip.GzipFile(fileobj=source))
        yield source


def agent_output(source: BinaryIO) -> Iterator[tuple[Stream, bytes]]:
    """The agent's output and the adapter's lines in a recording of any format."""
    format_ = RecordingFormat()
    for line in recorded_lines(source):
        yield from format_.read(line)
    yield from format_.finish()


def recorded_lines(source: BinaryIO) -> Iterator[bytes]:
    """Each line with its newline. The end of a line above `Limits.log_line_bytes` is skipped, as in a run."""
    while line := source.readline(LIMITS.log_line_bytes):
        yield line
        if not line.endswith(b"\n"):
            while not line.endswith(b"\n") and (line := source.readline(SKIPPED_CHUNK)):
                pass
            yield b"\n"
