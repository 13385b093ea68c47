"""Small tmpfs file systems, which really fill up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.programs import mounted_tmpfs, program

PAGE = 4096
"""Bytes that a tmpfs allocates at once: a file of one byte takes a page."""
PAD = "pad"
"""Name of the padding file, which fills the disk."""


@contextmanager
def small_disk(folder: Path, pages: int = 16) -> Iterator["SmallDisk"]:
    """A disk of `pages` pages, mounted for the duration of the block."""
    with mounted_tmpfs(folder, f"size={pages * PAGE},mode=0700"):
        yield SmallDisk(folder)


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, free: int = 0) -> None:
        """Fill the disk, except for `free` pages."""
        with (self.folder / PAD).open("ab", buffering=0) as pad, suppress(OSError):
            while True:
                pad.write(bytes(PAGE))
        if free:
            pad_size = (self.folder / PAD).stat().st_size
            os.truncate(self.folder / PAD, pad_size - free * PAGE)

    def make_room(self) -> None:
        """Delete the padding file."""
        (self.folder / PAD).unlink(missing_ok=True)

    def remount_read_only(self) -> None:
        command = [program("mount"), "-o", "remount,ro", str(self.folder)]
        subprocess.run(command, check=True)
