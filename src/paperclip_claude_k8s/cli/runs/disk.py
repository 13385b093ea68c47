"""The one door through which commands write to files, so that every write can be tried on a full disk."""

import os
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
"""What an agent said, and what a request holds, is its owner's alone."""


class Disk:
    """Writes at once and whole. Every method raises `OSError` as the system does."""

    def before(self, act: str, file: Path | int) -> None:
        """Called before each act that may change what is on the disk; a test's disk fails here."""

    def make_folder(self, folder: Path) -> None:
        """With its parents, unless it is there."""
        if not folder.is_dir():
            self.before("make a folder", folder)
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)

    def make_private(self, folder: Path) -> None:
        if folder.stat().st_mode & 0o777 != PRIVATE_FOLDER:
            self.before("make private", folder)
            folder.chmod(PRIVATE_FOLDER)

    def open(self, path: Path, *, new: bool = False) -> int:
        """A handle to read and write by; `new`: there must be no such file."""
        self.before("open", path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else 0)
        return os.open(path, flags, PRIVATE_FILE)

    def append(self, handle: int, what: bytes) -> None:
        self.write_at(handle, what, os.fstat(handle).st_size)

    def write_at(self, handle: int, what: bytes, at: int) -> None:
        """All of it; where that fails, a beginning of it may stand there."""
        while what:
            self.before("write", handle)
            written = os.pwrite(handle, what, at)
            at, what = at + written, what[written:]

    def cut(self, file: Path | int, size: int) -> None:
        self.before("cut", file)
        os.truncate(file, size)

    def sync(self, handle: int) -> None:
        """Some file systems say only now that there was no room."""
        self.before("sync", handle)
        os.fsync(handle)

    def replace(self, old: Path, new: Path) -> None:
        self.before("rename", new)
        old.replace(new)


DISK = Disk()
"""The real one."""


def still_there(handle: int) -> None:
    """Raises `FileNotFoundError` where somebody removed the file, so that writes to it are lost."""
    if os.fstat(handle).st_nlink == 0:
        raise FileNotFoundError(2, "files of the run were removed while it went on")
