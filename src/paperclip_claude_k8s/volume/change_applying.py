"""Applies what an agent changed in an uploaded folder to the folder of the host.

The law: a file of the host is replaced or deleted only if it is, by its sha256, the file that was uploaded,
and a new file is created only where nothing is. Otherwise the agent's file is kept beside it, under its name
with `.agent-` and the beginning of its sha256, and reported. Nothing is written outside of the folder,
through a link, or in `.git`. Each file is written completely under another name and then renamed or linked,
so that nobody sees half of one. To apply the same changes again changes nothing.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.volume.change_list import Change, ChangeReader
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules
from paperclip_claude_k8s.volume.removal import names_in
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, make_folders, open_at
from paperclip_claude_k8s.volume.upload_packing import TEMPORARY, open_folder

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1024 * 1024
_OTHER_CONTENT = "its content is not what was announced"


@dataclass(slots=True)
class Applied:
    """What became of an agent's changes. Paths are relative to the folder."""

    written: int = 0
    """Files that are now as the agent left them, new ones included."""
    deleted: int = 0
    kept_beside: list[str] = field(default_factory=list)
    """Where the agent's files are whose originals were changed meanwhile."""
    not_deleted: list[str] = field(default_factory=list)
    """Files that the agent deleted, and that were changed meanwhile."""
    refused: list[str] = field(default_factory=list)
    """Paths that may not be written, or could not be."""
    left: dict[str, int] = field(default_factory=dict)
    """Kind → number of what did not come back at all."""


def apply_changes(
    folder: str, place: FolderRule, packed: BinaryIO, limit: int, ignore: IgnoreRules
) -> Applied:
    """Apply the packed changes. Blocks. `limit`: largest sum of the contents in bytes.

    Raises:
        ChangesInvalid: they are not what the Pod prints. Files that came before were applied.
        OSError: the folder cannot be opened; `PlaceNotAllowed`: the policy does not allow it.
    """
    reader = ChangeReader(packed, limit)
    changes = reader.read_list()
    with open_folder(folder, place) as top:
        fcntl.flock(top, fcntl.LOCK_EX)
        _remove_left(top)
        applying = _Applying(top, ignore, Applied(refused=changes.refused, left=changes.left))
        for change in changes.deleted:
            applying.delete(change)
        for change in changes.files:
            applying.write(change, reader.content(change.size))
    return applying.done


def _remove_left(top: int) -> None:
    """Remove what a process has left that was killed while it wrote. The lock proves that none writes now."""
    for name in [name for name in names_in(top) if TEMPORARY.fullmatch(name)]:
        with suppress(OSError):
            os.unlink(name, dir_fd=top)


@dataclass(slots=True)
class _Applying:
    top: int
    ignore: IgnoreRules
    done: Applied
    _rules: dict[tuple[str, ...], IgnoreRules] = field(default_factory=dict)

    def delete(self, change: Change) -> None:
        *folders, name = change.path
        try:
            with _open_folders(self.top, folders) as at:
                found = _look(at, name)
                if found is None:
                    return
                if found.sha256 != change.base or not found.is_same(at, name):
                    self.done.not_deleted.append("/".join(change.path))
                    return
                os.unlink(name, dir_fd=at)
                self.done.deleted += 1
        except OSError as error:
            if error.errno != errno.ENOENT:
                self.done.not_deleted.append("/".join(change.path))
            return
        self._remove_empty(folders)

    def _remove_empty(self, folders: list[str]) -> None:
        with suppress(OSError):
            while folders:
                *folders, name = folders
                with _open_folders(self.top, folders) as at:
                    os.rmdir(name, dir_fd=at)

    def write(self, change: Change, content: Iterator[bytes]) -> None:
        """Write one file. Its content is read in any case, because that of the next one follows."""
        try:
            if change.path and self._is_ignored(change):
                self.done.left["ignored"] = self.done.left.get("ignored", 0) + 1
            elif change.path:
                self._write(change, content)
        except OSError as error:
            self.done.refused.append(f"{'/'.join(change.path)} ({error.strerror or error})"[:300])
        for _ in content:
            pass

    def _write(self, change: Change, content: Iterator[bytes]) -> None:
        *folders, name = change.path
        with ExitStack() as stack:
            try:
                at = stack.enter_context(make_folders(self.top, *folders))
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                    raise
                # a link or a file is in the place of one of the folders
                self._keep(self.top, (), change, content)
                return
            self._write_in(at, name, change, content)

    def _write_in(self, at: int, name: str, change: Change, content: Iterator[bytes]) -> None:
        found = _look(at, name)
        if found is not None and found.sha256 == change.sha256:
            self._set_executable(at, name, found, change)
            return
        if (found.sha256 if found is not None else None) != change.base:
            self._keep(at, change.path[:-1], change, content)
            return
        with _temporary(self.top, change, content) as temporary:
            if temporary is None:
                self.done.refused.append(f"{'/'.join(change.path)} ({_OTHER_CONTENT})")
            elif self._put(at, temporary, name, found, executable=change.executable):
                self.done.written += 1
            else:
                self._keep_file(at, change.path[:-1], temporary, change)

    def _set_executable(self, at: int, name: str, found: "_Found", change: Change) -> None:
        """The content is the agent's already; take over whether it can be executed, if it was uploaded so."""
        self.done.written += 1
        if change.base == change.sha256 and bool(found.mode & stat.S_IXUSR) != change.executable:
            with open_at(at, name, FILE_FLAGS) as file:
                os.fchmod(file, _mode(found.mode, executable=change.executable))

    def _keep(self, at: int, folders: tuple[str, ...], change: Change, content: Iterator[bytes]) -> None:
        with _temporary(self.top, change, content) as temporary:
            if temporary is None:
                self.done.refused.append(f"{'/'.join(change.path)} ({_OTHER_CONTENT})")
            else:
                self._keep_file(at, folders, temporary, change)

    def _keep_file(self, at: int, folders: tuple[str, ...], temporary: str, change: Change) -> None:
        """Keep the agent's file beside the host's, in the open folder `at`; only once, if it is the same."""
        name = kept_name(change.path[-1], change.sha256 or "")
        shown = "/".join((*folders, name))
        found = _look(at, name)
        if found is None:
            os.link(temporary, name, src_dir_fd=self.top, dst_dir_fd=at, follow_symlinks=False)
        elif found.sha256 != change.sha256:
            self.done.refused.append(f"{shown} (another file has this name)")
            return
        self.done.kept_beside.append(shown)

    def _put(self, at: int, temporary: str, name: str, found: "_Found | None", *, executable: bool) -> bool:
        """Give the file its name. False: something changed at this name since it was looked at."""
        if found is None:
            try:
                os.link(temporary, name, src_dir_fd=self.top, dst_dir_fd=at, follow_symlinks=False)
            except FileExistsError:
                return False
            return True
        os.chmod(temporary, _mode(stat.S_IMODE(found.mode), executable=executable), dir_fd=self.top)
        if not found.is_same(at, name):
            return False
        os.rename(temporary, name, src_dir_fd=self.top, dst_dir_fd=at)
        return True

    def _is_ignored(self, change: Change) -> bool:
        """Whether a new file is one that would not be uploaded: then it does not come back either."""
        if change.base is not None:
            return False
        path = change.path
        return any(
            self._rules_of(path[: end - 1]).ignores(path[:end], is_folder=end < len(path))
            for end in range(1, len(path) + 1)
        )

    def _rules_of(self, folder: tuple[str, ...]) -> IgnoreRules:
        if folder not in self._rules:
            above = self._rules_of(folder[:-1]) if folder else self.ignore
            try:
                with _open_folders(self.top, list(folder)) as at:
                    self._rules[folder] = above.of_folder(at, len(folder))
            except OSError:
                self._rules[folder] = above
        return self._rules[folder]


@dataclass(frozen=True, slots=True)
class _Found:
    """What is at a path: `sha256` is "" if it is no regular file."""

    sha256: str
    mode: int
    identity: tuple[int, ...]

    def is_same(self, at: int, name: str) -> bool:
        """Whether it is still there, unchanged."""
        with suppress(OSError):
            return _identity(os.stat(name, dir_fd=at, follow_symlinks=False)) == self.identity
        return False


def kept_name(name: str, sha256: str) -> str:
    """The name of an agent's file that is kept beside the host's."""
    suffix = f".agent-{sha256[:8]}"
    while len(f"{name}{suffix}".encode()) > 255:
        name = name[:-1]
    return f"{name}{suffix}"


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _look(at: int, name: str) -> _Found | None:
    """What is there; None for nothing. Raises `OSError`: it cannot be read."""
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return _Found("", found.st_mode, _identity(found))
    with open_at(at, name, FILE_FLAGS) as file:
        opened = os.fstat(file)
        digest = hashlib.sha256()
        while stat.S_ISREG(opened.st_mode) and (block := os.read(file, _BLOCK)):
            digest.update(block)
    return _Found(digest.hexdigest(), opened.st_mode, _identity(opened))


@contextmanager
def _open_folders(top: int, folders: list[str]) -> Iterator[int]:
    """Open an existing folder below the top, one part after the other; links are refused."""
    here = os.dup(top)
    try:
        for part in folders:
            with open_at(here, part) as below:
                os.close(here)
                here = os.dup(below)
        yield here
    finally:
        os.close(here)


@contextmanager
def _temporary(top: int, change: Change, content: Iterator[bytes]) -> Iterator[str | None]:
    """A file with the content; None if the content is not what the list announced. Removed at the end.

    All of them are at the top of the folder, where the next process finds those that a killed one has left.
    """
    temporary = f".paperclip-{secrets.token_hex(4)}.tmp"
    file = os.open(temporary, _NEW_FILE, 0o600, dir_fd=top)
    try:
        digest = hashlib.sha256()
        with os.fdopen(file, "wb") as stream:
            for block in content:
                digest.update(block)
                stream.write(block)
            os.fchmod(file, _mode(0o644, executable=change.executable))
        yield temporary if digest.hexdigest() == change.sha256 else None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=top)


def _mode(mode: int, *, executable: bool) -> int:
    """The mode of a file, executable for those who may read it or for nobody. Never setuid or setgid."""
    mode &= 0o666
    return mode | ((mode >> 2) & 0o111) if executable else mode
