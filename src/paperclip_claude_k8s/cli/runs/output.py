"""`--output DIR`: result.json, transcript.ndjson and log of a run in a folder that the user names.

The folder stays open, and its files are reached through its descriptor: nobody can put another folder in its
place while the run lasts.
"""

import os
import shlex
from pathlib import Path

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.cli.runs.disk import Disk, open_own_folder
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop, resume_command
from paperclip_claude_k8s.cli.runs.state import RunFiles, write_atomically

CHUNK = 1024 * 1024
"""Bytes that are compared or copied in one step."""


class Output:
    """Copies of the run's files in the state folder, and its outcome as result.json."""

    def __init__(self, folder: Path, files: RunFiles) -> None:
        """Raises `Stop` if the folder cannot be written. Callers check this before the run costs anything."""
        self._folder = folder.expanduser().absolute()
        self._disk: Disk = files.disk
        self._run_id = files.folder.name
        self._copies = [(files.transcript, "transcript.ndjson"), (files.log, "log")]
        self.error: Stop | None = None
        """Why the last `update` failed; None if the copies are up to date."""
        try:
            self._disk.make_folder(self._folder)
            self._handle = open_own_folder(self._folder)
            self._opened = Path(f"/proc/self/fd/{self._handle}")
            self._synchronize()
        except OSError as error:
            raise self._stop(error) from None

    def close(self) -> None:
        os.close(self._handle)

    def update(self) -> None:
        """Append new content of the originals to the copies. Sets `error` instead of raising."""
        try:
            self._append_new()
        except OSError as error:
            self.error = self._stop(error)
        else:
            self.error = None

    def finish(self, reply: Reply) -> None:
        """Complete the copies and write result.json. Raises `Stop` with `reply` as its outcome."""
        try:
            self._synchronize()
            for _, name in self._copies:
                self._fsync(self._opened / name)
            text = strict_json(reply, indent=2) + b"\n"
            write_atomically(self._opened / "result.json", text, self._disk)
        except OSError as error:
            raise self._stop(error).with_run_status("unknown", reply) from None

    def _synchronize(self) -> None:
        """Make the copies equal to the originals, whatever the files contained before. Raises `OSError`."""
        for source, name in self._copies:
            self._cut_after_difference(source, self._opened / name)
        self._append_new()

    def _append_new(self) -> None:
        for source, name in self._copies:
            self._append(source, self._opened / name)

    def _append(self, source: Path, target: Path) -> None:
        handle = self._disk.open(target)
        try:
            if not source.exists():
                return
            with source.open("rb") as original:
                original.seek(os.fstat(handle).st_size)
                while chunk := original.read(CHUNK):
                    self._disk.append(handle, chunk)
        finally:
            os.close(handle)

    def _fsync(self, target: Path) -> None:
        handle = self._disk.open(target)
        try:
            self._disk.sync(handle)
        finally:
            os.close(handle)

    def _cut_after_difference(self, source: Path, target: Path) -> None:
        handle = self._disk.open(target)
        try:
            same = _common_length(source, handle) if source.exists() else 0
            if os.fstat(handle).st_size > same:
                self._disk.cut(handle, same)
        finally:
            os.close(handle)

    def _stop(self, error: OSError) -> Stop:
        reason = f"--output {self._folder} cannot be written: {error.strerror or error}"
        resume = f"{resume_command(self._run_id)} --output {shlex.quote(str(self._folder))}"
        return Stop("output_unwritable", f"{reason}; make room there or choose another folder", resume=resume)


def _common_length(source: Path, target: int) -> int:
    """Number of equal bytes at the start of both files, counted in whole chunks."""
    same = 0
    with source.open("rb") as original, open(target, "rb", closefd=False) as copy:  # a descriptor
        while (chunk := copy.read(CHUNK)) and original.read(len(chunk)) == chunk:
            same += len(chunk)
    return same
