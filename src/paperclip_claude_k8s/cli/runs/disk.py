"""All file writes of commands about runs. A test replaces `Disk` to make any single write fail.

Files and folders belong to this user and are readable by this user only, whatever the umask. A file is never
opened through a link, which another user may have put in its place.
"""

import errno
import os
import stat
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
"""The agent's output and a run's request may be confidential: only the owner can read them."""


class Disk:
    """Unbuffered file operations. Every method raises `OSError` as the operating system does."""

    def before(self, operation: str, file: Path | int) -> None:
        """Called before each operation that may change the disk. Tests override it to raise `OSError`."""

    def make_folder(self, folder: Path) -> None:
        """Create the folder and its parents, unless it exists. New parents are private, too."""
        if not folder.is_dir():
            self.before("make a folder", folder)
            for part in (*reversed(folder.parents), folder):
                if not part.is_dir():
                    part.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)

    def make_private(self, folder: Path) -> None:
        if folder.stat().st_mode & 0o777 != PRIVATE_FOLDER:
            self.before("make private", folder)
            folder.chmod(PRIVATE_FOLDER)

    def open(self, path: Path, *, new: bool = False) -> int:
        """A file descriptor for reading and writing; creates the file. With `new`, raises if the file exists.

        It also raises if the file is a link, no regular file, or another user's.
        """
        self.before("open", path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_EXCL if new else 0)
        handle = private_opener(str(path), flags)
        try:
            _make_private_file(handle, path.name)
        except OSError:
            os.close(handle)
            raise
        return handle

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


def private_opener(path: str, flags: int) -> int:
    """The `opener` of files that only this user may read. Raises `OSError` for a link."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, f"{Path(path).name} is a link") from None
        raise


def _make_private_file(handle: int, name: str) -> None:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"{name} is not a regular file")
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"{name} belongs to another user")
    if status.st_mode & 0o077:
        os.fchmod(handle, PRIVATE_FILE)


def open_own_folder(path: Path) -> int:
    """A file descriptor of a folder that only this user, or this user's group, can write to.

    Raises `OSError` for another user's folder or link, and for a folder that all may write to: somebody could
    put links and files into it.
    """
    if os.lstat(path).st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    status = os.fstat(handle)
    others = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid != os.getegid() else 0)
    reason = "other users can write to it; `chmod go-w` changes that" if status.st_mode & others else ""
    if status.st_uid != os.geteuid():
        reason = "it belongs to another user"
    if reason:
        os.close(handle)
        raise PermissionError(errno.EPERM, reason)
    return handle


def check_not_deleted(handle: int) -> None:
    """Raises `FileNotFoundError` if the open file was deleted: writes to it would be lost."""
    if os.fstat(handle).st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, "files of the run were deleted while it was running")
