"""Reads the lines of recorded output."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from paperclip_claude_k8s.base.settings import LIMITS

CHUNK = 256 * 1024
"""Bytes per read of the rest of a line that is cut."""


def open_recording(path: Path) -> BinaryIO:
    """The file, plain or gzipped. Reading raises `OSError`, `EOFError` or `zlib.error`."""
    return gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def recorded_lines(source: BinaryIO) -> Iterator[bytes]:
    """Each line with its newline. A line above `Limits.log_line_bytes` is cut, as in a run."""
    while line := source.readline(LIMITS.log_line_bytes):
        yield line
        if not line.endswith(b"\n"):
            while not line.endswith(b"\n") and (line := source.readline(CHUNK)):
                pass
            yield b"\n"
