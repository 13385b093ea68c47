"""Remove folders on a volume that agents can write to, however deep, large or busy they are.

A folder may be nested thousands of levels deep, and an agent may add to it while it is removed. So nothing
here is recursive, no link is followed, few descriptors are open at a time, and one call removes at most
`ENTRIES` entries in at most `SECONDS`. What is left then is removed by a later call.
"""

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ENTRIES = 100_000
"""Entries that one call removes or examines."""
SECONDS = 5.0
"""Time that one call may take; a network volume takes milliseconds for each entry."""
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY_NAME = re.compile(r"\.[^/]{1,16}-[0-9a-f]{8}\.tmp")
_ABANDONED_SECONDS = 24 * 3600
"""Age at which a temporary folder counts as abandoned."""


@dataclass(slots=True)
class Allowance:
    """What one call may still do."""

    entries: int = ENTRIES
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)

    def take(self) -> bool:
        """Count one entry. False: the allowance is used up."""
        self.entries -= 1
        return self.entries >= 0 and time.monotonic() < self.until


def names_in(at: int, allowance: Allowance | None = None) -> Iterator[str]:
    """Yield the names in an open folder one by one, until the allowance is used up."""
    allowance = allowance or Allowance()
    with os.scandir(at) as entries:
        for entry in entries:
            if not allowance.take():
                return
            yield entry.name


def check_name(name: str) -> None:
    """Raise `OSError` for a text that is no name in a folder: `..` or a path could lead out of the folder."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise OSError(errno.EINVAL, "it is not a name of a file or a folder")


def temporary_name(name: str) -> str:
    return f".{name[:16]}-{secrets.token_hex(4)}.tmp"


def remove_tree(at: int, name: str) -> None:
    """Remove a folder, if it exists: it is renamed, so that its name is free, and deleted as far as possible.

    Raises:
        OSError: it could not be renamed, or `name` is a path.
    """
    check_name(name)
    temporary = temporary_name(name)
    with suppress(FileNotFoundError):
        os.rename(name, temporary, src_dir_fd=at, dst_dir_fd=at)
        discard(at, temporary)


def remove_older(at: int, oldest: float, *, only_temporary: bool = False, kept: Collection[str] = ()) -> None:
    """Remove what is older than `oldest` in an open folder, as far as possible. Errors are ignored.

    `only_temporary`: only entries with a temporary name. `kept`: names of entries that stay.
    """
    allowance = Allowance()
    with suppress(OSError):
        old = [name for name in names_in(at, allowance) if _is_older(at, name, oldest)]
        for name in old:
            if name not in kept and (_TEMPORARY_NAME.fullmatch(name) or not only_temporary):
                discard(at, name, allowance)


def remove_abandoned(at: int, name: str) -> None:
    """Remove temporary folders beside `name` that are a day older than `name`, by the volume's clock."""
    with suppress(OSError):
        written = os.stat(name, dir_fd=at, follow_symlinks=False).st_mtime
        remove_older(at, written - _ABANDONED_SECONDS, only_temporary=True)


def discard(at: int, name: str, allowance: Allowance | None = None) -> None:
    """Delete a folder, a file or a link, as far as possible. Errors are ignored."""
    allowance = allowance or Allowance()
    with suppress(OSError):
        os.unlink(name, dir_fd=at)
        return
    with suppress(OSError):
        with _opened(at, name) as top:
            _empty(top, allowance)
        os.rmdir(name, dir_fd=at)


def _empty(top: int, allowance: Allowance) -> None:
    """Delete what an open folder contains. A folder in it that is not empty is first made flat.

    Making flat moves the folders of a folder up into `top`, so that no path becomes long and no folder has to
    be kept open. Each round over `top` deletes at least one level.
    """
    removed = True
    while removed:
        removed = False
        for name in names_in(top, allowance):
            if _remove_entry(top, name) or _flatten(top, name, allowance):
                removed = True


def _flatten(top: int, name: str, allowance: Allowance) -> bool:
    """Delete a folder in `top`; the folders in it move to `top`. False: nothing was changed."""
    changed = False
    with suppress(OSError):
        with _opened(top, name) as folder:
            for below in names_in(folder, allowance):
                with suppress(OSError):
                    changed = _remove_entry(folder, below) or _move_up(folder, below, top) or changed
        os.rmdir(name, dir_fd=top)
        changed = True
    return changed


def _move_up(folder: int, name: str, top: int) -> bool:
    """Move an entry to `top`, under a random name. Always returns True; raises `OSError`."""
    os.rename(name, secrets.token_hex(8), src_dir_fd=folder, dst_dir_fd=top)
    return True


def _remove_entry(at: int, name: str) -> bool:
    """Delete a file, a link or an empty folder. False: it could not be deleted."""
    with suppress(OSError):
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
        (os.rmdir if is_folder else os.unlink)(name, dir_fd=at)
        return True
    return False


def _is_older(at: int, name: str, oldest: float) -> bool:
    with suppress(OSError):
        return os.stat(name, dir_fd=at, follow_symlinks=False).st_mtime < oldest
    return False


@contextmanager
def _opened(at: int, name: str) -> Iterator[int]:
    below = os.open(name, FOLDER_FLAGS, dir_fd=at)
    try:
        yield below
    finally:
        os.close(below)
