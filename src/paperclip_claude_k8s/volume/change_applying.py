"""Applies what an agent changed in an uploaded folder to the folder of the host.

The rule: a file of the host is replaced or deleted only if its sha256 is that of the uploaded file, and a new
file is created only where no file exists. Otherwise the agent's file is written beside the host's file, with
`.agent-` and the beginning of its sha256 appended to its name, and is reported. Nothing is written outside of
the folder, through a link, or in git's own files of a repository. Each file is written completely under a
temporary name, and then renamed or linked, so that no program sees a part of a file. Applying the same
changes again changes nothing.
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
from paperclip_claude_k8s.base.work_limit import WorkLimit
from paperclip_claude_k8s.volume.change_list import Change, ChangeReader
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules, PathRules
from paperclip_claude_k8s.volume.removal import names_in
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, make_folders, open_at, open_folders
from paperclip_claude_k8s.volume.upload_packing import TEMPORARY, lock_folder, open_folder
from paperclip_claude_k8s.volume.writable_folders import WritableFolders

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_WRONG_CONTENT = "its content does not have the sha256 in the list"


class NotWritable(OSError):
    """Nothing more can be written to the folder, for example because the disk is full."""


@dataclass(slots=True)
class Applied:
    """The outcome of an agent's changes. Paths are relative to the folder."""

    written: int = 0
    """Number of new and changed files that are now as the agent left them."""
    deleted: int = 0
    """Number of files that were deleted."""
    kept_beside: list[str] = field(default_factory=list)
    """Paths of the agent's files that were written beside the host's, which had changed meanwhile."""
    not_deleted: list[str] = field(default_factory=list)
    """Files that the agent deleted and that were not deleted here, because they had changed meanwhile."""
    refused: list[str] = field(default_factory=list)
    """Paths that may not be written, or could not be written."""
    left: dict[str, int] = field(default_factory=dict)
    """Kind → number of files and links that did not come back."""


def apply_changes(  # noqa: PLR0913, PLR0917  # changes, rules, and bounds
    folder: str, allowed: FolderRule, packed: BinaryIO, max_bytes: int, ignore: IgnoreRules, limit: WorkLimit
) -> Applied:
    """Apply the packed changes. Blocks. `max_bytes`: largest sum of the contents.

    Raises:
        ChangesInvalid: the changes do not have the format that the Pod prints.
        TakesTooLong: the time is over.
        NotWritable: nothing more can be written. In these three cases, earlier changes stay applied.
        OSError: the folder cannot be opened.
        FolderNotAllowed: the policy does not allow the folder.
    """
    reader = ChangeReader(packed, max_bytes, limit)
    changes = reader.read_list()
    with open_folder(folder, allowed) as top:
        lock_folder(top, fcntl.LOCK_EX, limit)
        _remove_temporary_files(top)
        done = Applied(refused=changes.refused, left=changes.left)
        rules, folders = PathRules(top, ignore, limit), WritableFolders(top)
        applying = _Applying(top, rules, folders, done, max_bytes, limit)
        for change in changes.deleted:
            applying.delete(change)
        for change in changes.files:
            applying.write(change, reader.content(change.size))
    return applying.done


def _remove_temporary_files(top: int) -> None:
    """Remove temporary files of a process that was killed. The lock proves that no process writes now."""
    for name in [name for name in names_in(top) if TEMPORARY.fullmatch(name)]:
        with suppress(OSError):
            os.unlink(name, dir_fd=top)


@dataclass(slots=True)
class _Applying:
    top: int
    rules: PathRules
    folders: WritableFolders
    done: Applied
    max_bytes: int
    limit: WorkLimit

    def delete(self, change: Change) -> None:
        """Delete one file, unless it was changed meanwhile, and then the folders above it that are empty."""
        self.limit.check()
        *folders, name = change.parts
        try:
            self.folders.check(folders)
            with open_folders(self.top, folders) as at:
                found = self._examine(at, name)
                if found is None:
                    return
                if found.sha256 != change.base or not found.is_same(at, name):
                    self.done.not_deleted.append(change.path)
                    return
                os.unlink(name, dir_fd=at)
                self.done.deleted += 1
        except OSError as error:
            if error.errno != errno.ENOENT:
                self.done.not_deleted.append(change.path)
            return
        _remove_empty(self.top, folders)

    def write(self, change: Change, content: Iterator[bytes]) -> None:
        """Write one file, if it may be written.

        Its content is read in any case, because the content of the next file follows it.
        """
        self.limit.check()
        try:
            if change.path and change.base is None and self.rules.leaves_out(change.parts):
                # a new file that would not be uploaded does not come back either
                self.done.left["ignored"] = self.done.left.get("ignored", 0) + 1
            elif change.path:
                self._write_below_folders(change, content)
        except OSError as error:
            if isinstance(error, NotWritable) or error.errno in _FULL:
                raise
            self.done.refused.append(f"{change.path} ({error.strerror or error})"[:300])
        for _ in content:
            pass

    def _write_below_folders(self, change: Change, content: Iterator[bytes]) -> None:
        """Create the folders of the path where they are missing, and write the file."""
        *folders, name = change.parts
        self.folders.check(folders)
        with ExitStack() as stack:
            try:
                at = stack.enter_context(make_folders(self.top, *folders))
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                    raise
                # a link or a file is in the place of one of the folders
                self._write_beside(self.top, (), change, content)
                return
            self._replace_or_write_beside(at, name, change, content)

    def _replace_or_write_beside(self, at: int, name: str, change: Change, content: Iterator[bytes]) -> None:
        found = self._examine(at, name)
        if found is not None and found.sha256 == change.sha256:
            self._count_equal_file(at, name, found, change)
            return
        if (found.sha256 if found is not None else None) != change.base:
            self._write_beside(at, change.parts[:-1], change, content)
            return
        with _temporary_file(self.top, change, content) as temporary:
            if temporary is None:
                self.done.refused.append(f"{change.path} ({_WRONG_CONTENT})")
            elif self._put_in_place(at, temporary, name, found, executable=change.executable):
                self.done.written += 1
            else:
                self._link_beside(at, change.parts[:-1], temporary, change)

    def _count_equal_file(self, at: int, name: str, found: "_Found", change: Change) -> None:
        """Count a host's file that has the agent's content already.

        If the agent changed only the executable bits, they are set as in the agent's file.
        """
        self.done.written += 1
        if change.base == change.sha256 and bool(found.mode & stat.S_IXUSR) != change.executable:
            with open_at(at, name, FILE_FLAGS) as file:
                if _identity(os.fstat(file)) == found.identity:
                    os.fchmod(file, _file_mode(found.mode, executable=change.executable))

    def _write_beside(
        self, at: int, folders: tuple[str, ...], change: Change, content: Iterator[bytes]
    ) -> None:
        with _temporary_file(self.top, change, content) as temporary:
            if temporary is None:
                self.done.refused.append(f"{change.path} ({_WRONG_CONTENT})")
            else:
                self._link_beside(at, folders, temporary, change)

    def _link_beside(
        self, at: int, folders: tuple[str, ...], temporary: "_Temporary", change: Change
    ) -> None:
        """Give the temporary file its name beside the host's file, unless an equal file has this name."""
        name = kept_name(change.parts[-1], change.sha256 or "")
        shown = "/".join((*folders, name))
        found = self._examine(at, name)
        if found is None:
            os.link(temporary.name, name, src_dir_fd=self.top, dst_dir_fd=at, follow_symlinks=False)
        elif found.sha256 != change.sha256:
            self.done.refused.append(f"{shown} (another file has this name)")
            return
        self.done.kept_beside.append(shown)

    def _put_in_place(
        self, at: int, temporary: "_Temporary", name: str, found: "_Found | None", *, executable: bool
    ) -> bool:
        """Rename the temporary file to `name`. False: the entry of this name was changed meanwhile."""
        if found is None:
            try:
                os.link(temporary.name, name, src_dir_fd=self.top, dst_dir_fd=at, follow_symlinks=False)
            except FileExistsError:
                return False
            return True
        os.fchmod(temporary.file, _file_mode(stat.S_IMODE(found.mode), executable=executable))
        if not found.is_same(at, name):
            return False
        os.rename(temporary.name, name, src_dir_fd=self.top, dst_dir_fd=at)
        return True

    def _examine(self, at: int, name: str) -> "_Found | None":
        """The entry of this name in an open folder; None if there is none. Raises `OSError`."""
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode) or found.st_size > self.max_bytes:
            return _Found("", found.st_mode, _identity(found))
        with open_at(at, name, FILE_FLAGS) as file:
            opened = os.fstat(file)
            digest = hashlib.sha256()
            while stat.S_ISREG(opened.st_mode) and (block := os.read(file, _BLOCK)):
                self.limit.check()
                digest.update(block)
        return _Found(digest.hexdigest(), opened.st_mode, _identity(opened))


def _remove_empty(top: int, folders: list[str]) -> None:
    """Remove the last of these folders, and then those above it, as long as they are empty."""
    with suppress(OSError):
        while folders:
            *folders, name = folders
            with open_folders(top, folders) as at:
                os.rmdir(name, dir_fd=at)


@dataclass(frozen=True, slots=True)
class _Found:
    """The entry at a path. `sha256` is "" if it is no regular file, or larger than any uploaded file."""

    sha256: str
    mode: int
    identity: tuple[int, ...]

    def is_same(self, at: int, name: str) -> bool:
        """Whether the entry still exists unchanged."""
        with suppress(OSError):
            return _identity(os.stat(name, dir_fd=at, follow_symlinks=False)) == self.identity
        return False


def kept_name(name: str, sha256: str) -> str:
    """The name of an agent's file that is kept beside the host's file."""
    suffix = f".agent-{sha256[:8]}"
    while len(f"{name}{suffix}".encode()) > 255:  # bytes of a name on Linux
        name = name[:-1]
    return f"{name}{suffix}"


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class _Temporary:
    """A complete temporary file. `file`: its descriptor, because agents may replace the entry `name`."""

    name: str
    file: int


@contextmanager
def _temporary_file(top: int, change: Change, content: Iterator[bytes]) -> Iterator[_Temporary | None]:
    """A file with the content, which is removed after the block.

    None if the content does not have the sha256 of the list. All temporary files are at the top of the
    folder, where the next call removes those that a killed process left there.
    """
    name = f".paperclip-{secrets.token_hex(4)}.tmp"
    try:
        file = os.open(name, _NEW_FILE, 0o600, dir_fd=top)
    except OSError as error:
        raise NotWritable(error.errno, error.strerror) from None
    try:
        sha256 = _fill(file, content)
        os.fchmod(file, _file_mode(0o644, executable=change.executable))
        yield _Temporary(name, file) if sha256 == change.sha256 else None
    finally:
        os.close(file)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=top)


def _fill(file: int, content: Iterator[bytes]) -> str:
    """Write the content to an open file. Returns its sha256."""
    digest = hashlib.sha256()
    try:
        with os.fdopen(file, "wb", closefd=False) as stream:
            for block in content:
                digest.update(block)
                stream.write(block)
    except OSError as error:
        raise NotWritable(error.errno, error.strerror) from None
    return digest.hexdigest()


def _file_mode(mode: int, *, executable: bool) -> int:
    """The mode with executable bits for each class of users that may read the file, or without any.

    The bits for setuid and setgid are never set.
    """
    read_write = mode & 0o666
    return read_write | ((read_write >> 2) & 0o111) if executable else read_write
