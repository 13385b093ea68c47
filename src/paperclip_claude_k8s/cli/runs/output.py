"""What a run leaves where the operator wants it: `--output DIR`."""

import os
import shlex
from pathlib import Path

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.cli.runs.disk import Disk
from paperclip_claude_k8s.cli.runs.replies import Answer, Stop, resume_command
from paperclip_claude_k8s.cli.runs.state import RunFiles, write_whole

PIECE = 1024 * 1024
"""Bytes compared or copied at once."""


class Output:
    """result.json, transcript.ndjson and log in one folder; copies of what the state folder holds."""

    def __init__(self, folder: Path, files: RunFiles) -> None:
        """Raises `Stop` where the folder cannot be written to: found out before anything is paid for."""
        self._folder = folder.expanduser().absolute()
        self._disk: Disk = files.disk
        self._run_id = files.folder.name
        self._copies = [(files.transcript, "transcript.ndjson"), (files.log, "log")]
        self.trouble: Stop | None = None
        """Why the copies are behind what they are copies of; None: they are not."""
        try:
            self._disk.make_folder(self._folder)
            self.settle()
        except OSError as error:
            raise self._unwritable(error) from None

    def grow(self) -> None:
        """Take over what has been added since, if it can be; only lengths are looked at."""
        try:
            self._grow()
        except OSError as error:
            self.trouble = self._unwritable(error)
        else:
            self.trouble = None

    def settle(self) -> None:
        """Make the copies equal to what they are copies of, whatever they were before. Raises `OSError`."""
        for source, name in self._copies:
            self._cut_where_different(source, self._folder / name)
        self._grow()

    def finish(self, answer: Answer) -> None:
        """Raises `Stop`, which knows the answer."""
        try:
            self.settle()
            for _, name in self._copies:
                self._secure(self._folder / name)
            text = strict_json(answer, indent=2) + b"\n"
            write_whole(self._folder / "result.json", text, self._disk)
        except OSError as error:
            raise self._unwritable(error).about("unknown", answer) from None

    def _grow(self) -> None:
        for source, name in self._copies:
            self._append(source, self._folder / name)

    def _append(self, source: Path, target: Path) -> None:
        handle = self._disk.open(target)
        try:
            if not source.exists():
                return
            with source.open("rb") as original:
                original.seek(os.fstat(handle).st_size)
                while piece := original.read(PIECE):
                    self._disk.append(handle, piece)
        finally:
            os.close(handle)

    def _secure(self, target: Path) -> None:
        handle = self._disk.open(target)
        try:
            self._disk.sync(handle)
        finally:
            os.close(handle)

    def _cut_where_different(self, source: Path, target: Path) -> None:
        if not target.exists():
            return
        same = _same_bytes(source, target) if source.exists() else 0
        if target.stat().st_size > same:
            self._disk.cut(target, same)

    def _unwritable(self, error: OSError) -> Stop:
        why = f"--output {self._folder} cannot be written: {error.strerror or error}"
        again = f"{resume_command(self._run_id)} --output {shlex.quote(str(self._folder))}"
        return Stop("output_unwritable", f"{why}; make room there, or name another folder", resume=again)


def _same_bytes(source: Path, target: Path) -> int:
    same = 0
    with source.open("rb") as one, target.open("rb") as other:
        while (piece := other.read(PIECE)) and one.read(len(piece)) == piece:
            same += len(piece)
    return same
