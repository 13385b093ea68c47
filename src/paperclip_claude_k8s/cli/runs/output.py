"""What a run leaves where the operator wants it: `--output DIR`."""

import os
from contextlib import suppress
from pathlib import Path

from paperclip_claude_k8s.cli.runs.state import RunFiles, write_whole
from paperclip_claude_k8s.cli.runs.words import Answer, Stop
from paperclip_claude_k8s.ground.strict_json import strict_json

PIECE = 1024 * 1024
"""Bytes compared or copied at once."""


class Output:
    """result.json, transcript.ndjson and log in one folder; copies of what the state folder holds."""

    def __init__(self, folder: Path, files: RunFiles) -> None:
        """Raises `Stop` where the folder cannot be written to: found out before anything is paid for."""
        self._folder = folder.expanduser().absolute()
        self._copies = [(files.transcript, "transcript.ndjson"), (files.log, "log")]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.settle()
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def grow(self) -> None:
        """Take over what has been added since, if it can be; only lengths are looked at."""
        with suppress(OSError):
            self._grow()

    def settle(self) -> None:
        """Make the copies equal to what they are copies of, whatever they were before."""
        for source, name in self._copies:
            _cut_where_different(source, self._folder / name)
        self._grow()

    def _grow(self) -> None:
        for source, name in self._copies:
            _append(source, self._folder / name)

    def finish(self, answer: Answer) -> None:
        """Raises `Stop`."""
        try:
            self.settle()
            write_whole(self._folder / "result.json", strict_json(answer, indent=2) + b"\n")
        except OSError as error:
            raise _unwritable(self._folder, error) from None


def _append(source: Path, target: Path) -> None:
    """What an agent said is its owner's alone, as the state folder is."""
    handle = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "ab") as copy:
        if not source.exists():
            return
        with source.open("rb") as original:
            original.seek(copy.tell())
            while piece := original.read(PIECE):
                copy.write(piece)


def _cut_where_different(source: Path, target: Path) -> None:
    if not target.exists():
        return
    same = _same_bytes(source, target) if source.exists() else 0
    if target.stat().st_size > same:
        os.truncate(target, same)


def _same_bytes(source: Path, target: Path) -> int:
    same = 0
    with source.open("rb") as one, target.open("rb") as other:
        while (piece := other.read(PIECE)) and one.read(len(piece)) == piece:
            same += len(piece)
    return same


def _unwritable(folder: Path, error: OSError) -> Stop:
    why = error.strerror or str(error)
    return Stop("output_unwritable", f"--output {folder} cannot be written: {why}")
