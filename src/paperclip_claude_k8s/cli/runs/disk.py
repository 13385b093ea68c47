"""All file writes of commands about runs. A test replaces `Disk` to make any single write fail."""

import os
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
"""The agent's output and a run's request may be confidential: only the owner can read them."""


class Disk:
    """Unbuffered file operations. Every method raises `OSError` as the operating system does."""

    def before(self, operation: str, file: Path | int) -> None:
        """Called before each operation that may change the disk. Tests override it to raise `OSError`."""

    def make_folder(self, folder: Path) -> None:
        """Create the folder and its parents, unless it exists."""
        if not folder.is_dir():
            self.before("make a folder", folder)
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)

    def make_private(self, folder: Path) -> None:
        if folder.stat().st_mode & 0o777 != PRIVATE_FOLDER:
            self.before("make private", folder)
            folder.chmod(PRIVATE_FOLDER)

    def open(self, path: Path, *, new: bool = False) -> int:
        """A file descriptor for reading and writing. With `new`, raises if the file exists."""
        self.before("open", path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else 0)
        return os.open(path, flags, PRIVATE_FILE)

    def append(self, handle: int, content: bytes) -> None:
        self.write_at(handle, content, os.fstat(handle).st_size)

    def write_at(self, handle: int, content: bytes, offset: int) -> None:
        """Write the whole content. If that fails, the beginning may have been written."""
        while content:
            self.before("write", handle)
            written = os.pwrite(handle, content, offset)
            offset, content = offset + written, content[written:]

    def cut(self, file: Path | int, size: int) -> None:
        self.before("cut", file)
        os.truncate(file, size)

    def sync(self, handle: int) -> None:
        """Write the content to the disk. Some file systems report only now that the disk is full."""
        self.before("sync", handle)
        os.fsync(handle)

    def replace(self, old: Path, new: Path) -> None:
        self.before("rename", new)
        old.replace(new)


REAL_DISK = Disk()


def check_not_deleted(handle: int) -> None:
    """Raises `FileNotFoundError` if the open file was deleted: writes to it would be lost."""
    if os.fstat(handle).st_nlink == 0:
        raise FileNotFoundError(2, "files of the run were deleted while it was running")
