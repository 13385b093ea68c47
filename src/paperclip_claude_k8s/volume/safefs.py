"""Read and write folders on a volume that agents can write to, without following symbolic links.

Each function works on open folders (`dir_fd`) and opens one path component at a time with O_NOFOLLOW. A path
that was checked and then opened as a whole could be redirected by an agent in between. Parameters `at` are
descriptors of open folders.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import IO

from paperclip_claude_k8s.plan.bundle import BundleFile, Files
from paperclip_claude_k8s.plan.shared_files import is_listable
from paperclip_claude_k8s.volume.removal import FOLDER_FLAGS, discard, names_in, temporary_name

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
KEPT_SECONDS = 7 * 24 * 3600
"""Age in seconds at which files that a run left on the volume are removed."""
_BLOCK = 1024 * 1024
_MAX_DEPTH = 32
"""Largest depth of nested folders: while a folder is read, those above it keep a file descriptor open."""


class NotOurs(OSError):
    """A folder belongs to another user."""


class TooLarge(OSError):
    """A file or folder exceeds a limit; the message names the limit."""


@dataclass(slots=True)
class Budget:
    """Bytes and entries (files and folders) that may still be read. Several trees can share one budget."""

    bytes_left: int
    entries_left: int
    skipped: list[str] = field(default_factory=list)
    """Paths of what was left out: links, special files, names with control characters."""

    def skip(self, path: str) -> None:
        """Leave out an entry; it is subtracted all the same. Raises `TooLarge`."""
        self.skipped.append(path)
        self.take(0)

    def take(self, size: int) -> None:
        """Subtract an entry of this many bytes. Raises `TooLarge`."""
        self.entries_left -= 1
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise TooLarge("it has too many bytes")
        if self.entries_left < 0:
            raise TooLarge("it has too many files")


def our_uids(volume: int) -> set[int]:
    """The owners of what root and this process's user create on an open volume.

    Some network volumes give everything to one user, whoever creates it (e.g. NFS with `all_squash`).
    Raises `OSError`: nothing can be created.
    """
    name = temporary_name("owner")
    os.mkdir(name, 0o700, dir_fd=volume)
    try:
        made = os.stat(name, dir_fd=volume, follow_symlinks=False)
    finally:
        discard(volume, name)
    return {0, os.geteuid(), made.st_uid}


@contextmanager
def open_path(path: str, volume: str | None, flags: int = FOLDER_FLAGS) -> Iterator[int]:
    """Open a folder or file by its absolute path. If it is below the volume, links in it are refused.

    Raises:
        OSError: it does not exist, may not be read, or its path has a link that is refused.
    """
    parts = _parts_below(path, volume)
    if volume is None or parts is None:
        opened = os.open(path, flags & ~os.O_NOFOLLOW)
    else:
        opened = _open_by_parts(os.open(volume, FOLDER_FLAGS & ~os.O_NOFOLLOW), parts, flags)
    try:
        yield opened
    finally:
        os.close(opened)


def read_file(
    path: str, volume: str | None, limit: int, check: Callable[[int], None] = lambda _: None
) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises `OSError`; `TooLarge` if it has more.

    `check` is called with the open file before it is read, and may raise.
    """
    with open_path(path, volume, FILE_FLAGS) as file:
        check(file)
        return read_content(file, Budget(limit, 1))


def read_tree(at: int, budget: Budget, depth: int = _MAX_DEPTH, prefix: str = "") -> Files:
    """All regular files below an open folder. What is left out is named in `Budget.skipped`.

    Raises:
        OSError: something could not be read; `TooLarge`: the budget is used up.
    """
    if depth == 0:
        raise TooLarge("its folders are nested too deeply")
    files: dict[str, BundleFile] = {}
    for name in _sorted_names(at, budget):
        path = f"{prefix}{name}"
        mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
        if not is_listable(name):
            budget.skip(path)
        elif stat.S_ISDIR(mode):
            budget.take(0)
            with open_at(at, name, FOLDER_FLAGS) as below:
                files |= read_tree(below, budget, depth - 1, f"{path}/")
        elif stat.S_ISREG(mode):
            with open_at(at, name, FILE_FLAGS) as file:
                files[path] = BundleFile(read_content(file, budget), bool(mode & stat.S_IXUSR))
        else:
            budget.skip(path)
    return files


def _sorted_names(at: int, budget: Budget) -> list[str]:
    """The names in an open folder. Raises `TooLarge` before more of them are kept than the budget allows."""
    names = list(islice(names_in(at), budget.entries_left + 1))
    if len(names) > budget.entries_left:
        raise TooLarge("it has too many files")
    return sorted(names)


def write_tree(at: int, name: str, files: Files) -> None:
    """Create the folder `name` in an open folder atomically: it is written under another name and renamed.

    All users can read it, whatever the umask is, because the agent has another uid.

    Raises:
        FileExistsError: the name is in use.
        OSError: it could not be written.
    """
    temporary = temporary_name(name)
    try:
        with make_folders(at, temporary) as top:
            for path, file in files.items():
                _write_file(top, PurePosixPath(path).parts, file)
        _rename_to_free(at, temporary, name)
    finally:
        discard(at, temporary)


@contextmanager
def open_volume(volume: str) -> Iterator[int]:
    """Open the volume's own folder; its path is configured, so it may be a link. Raises `OSError`."""
    at = os.open(volume, FOLDER_FLAGS & ~os.O_NOFOLLOW)
    try:
        yield at
    finally:
        os.close(at)


@contextmanager
def make_folders(at: int, *parts: str, only_ours: bool = False) -> Iterator[int]:
    """Open a folder below an open folder. Missing folders of the path are created, links are refused.

    `only_ours`: raise `NotOurs` if a folder belongs to another user, who could replace what is in it.
    """
    here, ours = os.dup(at), {0, os.geteuid()}
    try:
        for part in parts:
            below = _open_or_make(here, part)
            os.close(here)
            here = below
            if only_ours and (owner := os.fstat(here).st_uid) not in ours:
                ours = our_uids(at)
                if owner not in ours:
                    raise NotOurs(f"its folder {part} belongs to another user")
        yield here
    finally:
        os.close(here)


def _parts_below(path: str, volume: str | None) -> tuple[str, ...] | None:
    """The components of `path` relative to the volume; None if it is not below the volume."""
    if volume is None:
        return None
    whole, top = PurePosixPath(os.path.normpath(path)), PurePosixPath(os.path.normpath(volume))
    # `is_relative_to` copies all parts for each folder above in Python 3.12
    return whole.parts[len(top.parts) :] if whole.parts[: len(top.parts)] == top.parts else None


def _open_by_parts(at: int, parts: tuple[str, ...], flags: int) -> int:
    """Open a path below the open folder `at`, one component after another, and close `at`."""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        try:
            below = os.open(part, flags if last else FOLDER_FLAGS, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


@contextmanager
def open_at(at: int, name: str, flags: int = FOLDER_FLAGS) -> Iterator[int]:
    """Open a folder or file in an open folder; a link is refused."""
    below = os.open(name, flags, dir_fd=at)
    try:
        yield below
    finally:
        os.close(below)


@contextmanager
def open_folders(at: int, folders: Sequence[str]) -> Iterator[int]:
    """Open an existing folder below an open folder, one part after the other; links are refused."""
    here = os.dup(at)
    try:
        for part in folders:
            with open_at(here, part) as below:
                os.dup2(below, here, inheritable=False)
        yield here
    finally:
        os.close(here)


def read_content(file: int, budget: Budget) -> bytes:
    """Read an open file. The budget, not the file's size, limits the read, because the file can grow."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError("it is not a regular file")
    with os.fdopen(file, "rb", closefd=False) as stream:
        content = stream.read(budget.bytes_left + 1)
    budget.take(len(content))
    return content


def copy_content(file: int, into: IO[bytes], budget: Budget) -> tuple[int, str]:
    """Copy an open file, as `read_content` reads it. Returns the number of bytes, and their sha256."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError("it is not a regular file")
    size, digest = 0, hashlib.sha256()
    while block := os.read(file, min(_BLOCK, budget.bytes_left - size + 1)):
        size += len(block)
        if size > budget.bytes_left:
            break
        digest.update(block)
        into.write(block)
    budget.take(size)
    return size, digest.hexdigest()


def _write_file(top: int, parts: tuple[str, ...], file: BundleFile) -> None:
    *folders, name = parts
    with make_folders(top, *folders) as at:
        new = os.open(name, _NEW_FILE_FLAGS, 0o600, dir_fd=at)
        with os.fdopen(new, "wb") as stream:
            stream.write(file.content)
            os.fchmod(new, 0o755 if file.executable else 0o644)


def _open_or_make(at: int, name: str) -> int:
    made = False
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=at)
        made = True
    below = os.open(name, FOLDER_FLAGS, dir_fd=at)
    try:
        if made:
            os.fchmod(below, 0o755)
    except OSError:
        os.close(below)
        raise
    return below


def _rename_to_free(at: int, temporary: str, name: str) -> None:
    """Rename a folder to a free name, or to that of an empty folder, which the rename replaces.

    Raises `FileExistsError` if the name is in use.
    """
    try:
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise FileExistsError(errno.EEXIST, f"{name} already exists") from None
        raise
