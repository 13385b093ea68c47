"""Folders on a volume that agents write on, read and written without following a single link."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from paperclip_claude_k8s.plan.bundle import BundleFile, Files

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ASIDE = re.compile(r"\.[^/]{1,16}-[0-9a-f]{8}\.tmp")
_ABANDONED_SECONDS = 24 * 3600
KEPT_SECONDS = 7 * 24 * 3600
"""Age at which what a run left that did not end well is removed from the volume (SPEC 5)."""
_DEPTH = 32
"""Folders within folders: each holds a descriptor open while it is read."""


class TooLarge(OSError):
    """More than a bundle may hold; the message says what of."""


@dataclass(slots=True)
class Budget:
    """What may still be read: bytes, and files and folders. One budget serves several trees."""

    bytes_left: int
    entries_left: int
    skipped: list[str] = field(default_factory=list)
    """Links and special files that were left out, by their path."""

    def take(self, size: int) -> None:
        """Raises `TooLarge`."""
        self.entries_left -= 1
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise TooLarge("it has too many bytes")
        if self.entries_left < 0:
            raise TooLarge("it has too many files")


@contextmanager
def opened(path: str, volume: str | None, flags: int = _FOLDER) -> Iterator[int]:
    """A folder or file by its absolute path; below the volume no part of the path may be a link.

    Raises:
        OSError: it is not there, may not be read, or leads through a link.
    """
    below = _below(path, volume)
    if volume is None or below is None:
        at = os.open(path, flags & ~os.O_NOFOLLOW)
    else:
        at = _walk(os.open(volume, _FOLDER & ~os.O_NOFOLLOW), below, flags)
    try:
        yield at
    finally:
        os.close(at)


def read_file(path: str, volume: str | None, limit: int) -> bytes:
    """A regular file of at most `limit` bytes. Raises `OSError`, `TooLarge` among them."""
    with opened(path, volume, FILE) as file:
        return _content(file, Budget(limit, 1))


def read_tree(at: int, budget: Budget, depth: int = _DEPTH, prefix: str = "") -> Files:
    """Every regular file below an opened folder; links and special files are left out and noted.

    Raises:
        OSError: something could not be read; `TooLarge` when the budget is used up.
    """
    if depth == 0:
        raise TooLarge("its folders are nested too deeply")
    files: dict[str, BundleFile] = {}
    for name in sorted(os.listdir(at)):
        path = f"{prefix}{name}"
        mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            budget.take(0)
            with descended(at, name, _FOLDER) as below:
                files |= read_tree(below, budget, depth - 1, f"{path}/")
        elif stat.S_ISREG(mode):
            with descended(at, name, FILE) as file:
                files[path] = BundleFile(_content(file, budget), bool(mode & stat.S_IXUSR))
        else:
            budget.skipped.append(path)
    return files


def write_tree(at: int, name: str, files: Files) -> None:
    """A new folder `name` in the opened one, whole or not at all: it is written aside and renamed.

    Everybody may read it, whatever the process's umask: the agent has another uid.

    Raises:
        FileExistsError: there is something of that name already.
        OSError: the volume refused.
    """
    aside = _aside(name)
    try:
        with made_folder(at, aside) as top:
            for path, file in files.items():
                _write(top, PurePosixPath(path).parts, file)
        _rename_new(at, aside, name)
    finally:
        _discard(at, aside)


def remove_tree(at: int, name: str) -> None:
    """Out of the way first, so that nobody finds half of it; what cannot be removed stays there, hidden.

    Raises:
        OSError: it cannot even be renamed.
    """
    aside = _aside(name)
    with suppress(FileNotFoundError):
        os.rename(name, aside, src_dir_fd=at, dst_dir_fd=at)
        _discard(at, aside)


def sweep(at: int, name: str) -> None:
    """Remove what writers that died have left beside `name`, a day before it by the volume's own clock."""
    with suppress(OSError):
        oldest = os.stat(name, dir_fd=at, follow_symlinks=False).st_mtime - _ABANDONED_SECONDS
        for found in os.listdir(at):
            mtime = os.stat(found, dir_fd=at, follow_symlinks=False).st_mtime
            if _ASIDE.fullmatch(found) and mtime < oldest:
                _discard(at, found)


@contextmanager
def on_volume(volume: str) -> Iterator[int]:
    """The opened volume itself, which may be a link of the operator's. Raises `OSError`."""
    at = os.open(volume, _FOLDER & ~os.O_NOFOLLOW)
    try:
        yield at
    finally:
        os.close(at)


@contextmanager
def made_folder(at: int, *parts: str) -> Iterator[int]:
    """The opened folder below another; what is missing on the way is made, links are refused."""
    here = os.dup(at)
    try:
        for part in parts:
            below = _open_or_make(here, part)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _below(path: str, volume: str | None) -> tuple[str, ...] | None:
    if volume is None:
        return None
    whole, top = PurePosixPath(os.path.normpath(path)), PurePosixPath(os.path.normpath(volume))
    return whole.relative_to(top).parts if whole.is_relative_to(top) else None


def _walk(at: int, parts: tuple[str, ...], flags: int) -> int:
    """Down from an opened folder, which is closed on the way."""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        try:
            below = os.open(part, flags if last else _FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


@contextmanager
def descended(at: int, name: str, flags: int = _FOLDER) -> Iterator[int]:
    """A folder or file in an opened folder, but no link to one."""
    below = os.open(name, flags, dir_fd=at)
    try:
        yield below
    finally:
        os.close(below)


def _content(file: int, budget: Budget) -> bytes:
    """Bounded by the budget, not by the size the file had a moment ago."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError("it is no regular file")
    with os.fdopen(file, "rb", closefd=False) as stream:
        content = stream.read(budget.bytes_left + 1)
    budget.take(len(content))
    return content


def _write(top: int, parts: tuple[str, ...], file: BundleFile) -> None:
    *folders, name = parts
    with made_folder(top, *folders) as at:
        new = os.open(name, _NEW, 0o600, dir_fd=at)
        with os.fdopen(new, "wb") as stream:
            stream.write(file.content)
            os.fchmod(new, 0o755 if file.executable else 0o644)


def _open_or_make(at: int, name: str) -> int:
    made = False
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=at)
        made = True
    below = os.open(name, _FOLDER, dir_fd=at)
    try:
        if made:
            os.fchmod(below, 0o755)
    except OSError:
        os.close(below)
        raise
    return below


def _rename_new(at: int, aside: str, name: str) -> None:
    """A rename takes the place of an empty folder, and of nothing else."""
    try:
        os.rename(aside, name, src_dir_fd=at, dst_dir_fd=at)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise FileExistsError(errno.EEXIST, f"{name} is there already") from None
        raise


def _discard(at: int, name: str) -> None:
    """A folder, a file or a link, as far as the volume allows."""
    with suppress(OSError):
        os.unlink(name, dir_fd=at)
        return
    shutil.rmtree(name, ignore_errors=True, dir_fd=at)


def _aside(name: str) -> str:
    return f".{name[:16]}-{secrets.token_hex(4)}.tmp"
