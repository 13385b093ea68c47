"""Small file systems of memory, which fill up for real."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support.programs import EXPECTED, program

PAGE = 4096
"""What one byte of a file takes on such a disk."""
PAD = "pad"
"""The file that takes all the room."""


@contextmanager
def small_disk(folder: Path, pages: int = 16) -> Iterator["SmallDisk"]:
    """A disk of so many pages; the test is skipped where nobody may mount one, and fails where one must."""
    folder.mkdir()
    options = f"size={pages * PAGE},mode=0700"
    words = [program("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode != 0:
        missing = f"a small disk cannot be mounted here: {done.stderr.decode().strip()}"
        if os.environ.get(EXPECTED):
            pytest.fail(missing)
        pytest.skip(missing)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, free: int = 0) -> None:
        """Leave so many pages free."""
        with (self.folder / PAD).open("ab", buffering=0) as pad, suppress(OSError):
            while True:
                pad.write(bytes(PAGE))
        if free:
            pad_size = (self.folder / PAD).stat().st_size
            os.truncate(self.folder / PAD, pad_size - free * PAGE)

    def make_room(self) -> None:
        (self.folder / PAD).unlink(missing_ok=True)

    def remount_read_only(self) -> None:
        words = [program("mount"), "-o", "remount,ro", str(self.folder)]
        subprocess.run(words, check=True)
