"""Packs a folder of the host for an upload: a gzipped tar in a temporary file, with the sha256 of every file.

Only folders, regular files, and links that stay in the folder are packed. Nothing is opened through a link.
The tar has three top entries: the folder under the name that it has in the Pod, `SUMS` and `LINKS`.
"""

import fcntl
import gzip
import hashlib
import io
import os
import re
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.base.work_limit import WorkLimit
from paperclip_claude_k8s.plan.upload_parts import number_of_parts
from paperclip_claude_k8s.relay.upload_scripts import LINKS, SUMS
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules
from paperclip_claude_k8s.volume.removal import FOLDER_FLAGS, Allowance, names_in
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, Budget, TooLarge, copy_content, open_at

TEMPORARY = re.compile(r"\.paperclip-[0-9a-f]{8}\.tmp")
"""Names of files that `change_applying` is writing at the top of a folder; they are not packed."""
_ODD_CHARACTER = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
"""Names with these characters are not packed, because programs in the Pod print lists of names."""
_DOTS_FIRST = re.compile(r"(\.\./)*(?!\.\.(/|$))[^/]+(/+(?!\.\.(/|$))[^/]+)*/?|(\.\./)*\.\.")
"""A relative target that has `..` only at its beginning. A later `..` could lead out of the folder through
another link."""
_IN_MEMORY = 1024 * 1024
"""Largest file that is held in memory. A larger file is copied to disk first, because it may be growing."""
_LOCK_INTERVAL = 0.1
"""Seconds between two attempts to lock a folder."""


class UploadRefused(Exception):
    """The folder cannot be uploaded; the message is a clause."""


class FolderNotAllowed(UploadRefused):
    """The policy does not allow the folder."""


@dataclass(frozen=True, slots=True)
class UploadInputs:
    """The input of `pack_folder`."""

    folder: str
    """Path of the folder on the host."""
    name: str
    """The folder's name in the Pod."""
    max_bytes: int
    """Largest sum of the sizes of all files."""
    ignore: IgnoreRules
    allowed: FolderRule
    """Where the policy allows the folder."""
    limit: WorkLimit
    max_packed_bytes: int = UPLOAD_LIMITS.packed_bytes


@dataclass(slots=True)
class PackedFolder:
    """A packed folder in an open temporary file, which no other process can open."""

    file: BinaryIO
    size: int = 0
    """Bytes of the packed folder."""
    sha256: str = ""
    files: int = 0
    content_bytes: int = 0
    ignored: int = 0
    """Number of files and folders that patterns leave out."""
    skipped: list[str] = field(default_factory=list)
    """Paths of special files, odd names, and links that lead out of the folder."""

    def part(self, number: int) -> bytes:
        """One part of at most `UploadLimits.part_bytes`."""
        return os.pread(self.file.fileno(), UPLOAD_LIMITS.part_bytes, number * UPLOAD_LIMITS.part_bytes)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return number_of_parts(self.size)


def pack_folder(inputs: UploadInputs) -> PackedFolder:
    """Pack the folder. Blocks. The caller closes the file.

    Raises:
        UploadRefused: the folder does not exist, is too large or cannot be read.
        FolderNotAllowed: the policy does not allow the folder.
        TakesTooLong: the time is over.
    """
    packed = PackedFolder(tempfile.TemporaryFile())  # noqa: SIM115  # the caller closes it
    try:
        with open_folder(inputs.folder, inputs.allowed) as top:
            lock_folder(top, fcntl.LOCK_SH, inputs.limit)
            _Packing(inputs, packed).run(top)
    except BaseException as error:
        packed.file.close()
        if isinstance(error, OSError):
            raise UploadRefused(_explain(error, inputs.folder)) from None
        raise
    return packed


def lock_folder(top: int, kind: int, limit: WorkLimit) -> None:
    """Wait until no other process packs or writes an open folder, and lock it.

    `kind`: `LOCK_SH` or `LOCK_EX`. The wait is limited, because agents of a shared volume can lock its
    folders too. Raises `OSError` and `TakesTooLong`.
    """
    while True:
        try:
            fcntl.flock(top, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            limit.check()
            time.sleep(_LOCK_INTERVAL)  # noqa: TID251  # in a thread
        else:
            return


@contextmanager
def open_folder(folder: str, allowed: FolderRule) -> Iterator[int]:
    """Open a folder of the host, if `allowed` allows its real path. The path itself may contain links.

    Raises `OSError`, `FolderNotAllowed`.
    """
    top = os.open(folder, FOLDER_FLAGS & ~os.O_NOFOLLOW)
    try:
        real = str(Path(f"/proc/self/fd/{top}").readlink())
        if not allowed.allows(real):
            raise FolderNotAllowed(
                f"the host's folder {real[:200]} is not where the policy's uploadRoots allow it"
            )
        yield top
    finally:
        os.close(top)


def _explain(error: OSError, folder: str) -> str:
    shown = folder[:200]
    if isinstance(error, TooLarge):
        return f"the host's folder {shown} cannot be uploaded: {error}"
    return f"the host's folder {shown} cannot be read: {error.strerror or error}"


class _Packing:
    def __init__(self, inputs: UploadInputs, packed: PackedFolder) -> None:
        self._inputs = inputs
        self._packed = packed
        self._budget = Budget(inputs.max_bytes, UPLOAD_LIMITS.entries)
        self._sums: list[str] = []
        self._links: list[str] = []
        self._list_bytes = 0

    def run(self, top: int) -> None:
        out = _HashingFile(self._packed.file, self._inputs.max_packed_bytes)
        zipped = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0, filename="")
        with zipped, tarfile.open(fileobj=zipped, mode="w|", format=tarfile.GNU_FORMAT) as self._tar:
            self._tar.addfile(_entry(self._inputs.name, tarfile.DIRTYPE, 0o755))
            self._add_folder(top, (), self._inputs.ignore)
            for name, lines in ((SUMS, self._sums), (LINKS, self._links)):
                text = "".join(f"{line}\n" for line in lines).encode()
                self._tar.addfile(_entry(name, tarfile.REGTYPE, 0o644, len(text)), io.BytesIO(text))
        self._packed.size, self._packed.sha256 = out.size, out.hash.hexdigest()

    def _add_folder(self, at: int, path: tuple[str, ...], ignore: IgnoreRules) -> None:
        if len(path) > UPLOAD_LIMITS.depth:
            raise TooLarge("its folders are nested too deeply")
        rules = ignore.of_folder(at, len(path))
        until = time.monotonic() + self._inputs.limit.left
        # names that patterns leave out count here too, so ten times as many may exist as may be packed
        for name in all_names(at, Allowance(UPLOAD_LIMITS.entries * 10, until)):
            self._inputs.limit.check()
            self._add(at, (*path, name), rules)
        self._inputs.limit.check()

    def _add(self, at: int, path: tuple[str, ...], rules: IgnoreRules) -> None:
        name = path[-1]
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return
        if len(path) == 1 and TEMPORARY.fullmatch(name):
            return
        if rules.ignores(path, self._inputs.limit, is_folder=stat.S_ISDIR(found.st_mode)):
            self._packed.ignored += 1
        elif _ODD_CHARACTER.search(name) or len("/".join(path).encode()) > UPLOAD_LIMITS.path_bytes:
            self._skip(path)
        elif stat.S_ISDIR(found.st_mode):
            self._count_entry(0)
            self._tar.addfile(_entry(self._tar_name(path), tarfile.DIRTYPE, 0o755, when=found.st_mtime))
            with open_at(at, name) as below:
                self._add_folder(below, path, rules)
        elif stat.S_ISREG(found.st_mode):
            self._add_file(at, path, found)
        elif stat.S_ISLNK(found.st_mode):
            self._add_link(at, path)
        else:
            self._skip(path)

    def _add_file(self, at: int, path: tuple[str, ...], found: os.stat_result) -> None:
        if found.st_size > self._budget.bytes_left:
            self._count_entry(found.st_size)  # raises
        with (
            open_at(at, path[-1], FILE_FLAGS) as file,
            tempfile.SpooledTemporaryFile(_IN_MEMORY) as content,
        ):
            try:
                size, sha256 = copy_content(file, content, self._budget)
            except TooLarge:
                self._count_entry(self._budget.bytes_left + 1)  # raises, with the limits in its message
                raise
            content.seek(0)
            executable = bool(found.st_mode & stat.S_IXUSR)
            mode = 0o755 if executable else 0o644
            entry = _entry(self._tar_name(path), tarfile.REGTYPE, mode, size, found.st_mtime)
            self._tar.addfile(entry, content)
        self._packed.files += 1
        self._packed.content_bytes += size
        if path[0] != ".git":
            self._note(self._sums, f"{sha256} {'x' if executable else '-'} ./{'/'.join(path)}")

    def _note(self, lines: list[str], line: str) -> None:
        """Add a line to one of the lists, which are limited together."""
        self._list_bytes += len(line)
        if self._list_bytes > UPLOAD_LIMITS.list_bytes:
            raise TooLarge("the paths of its files are too long together")
        lines.append(line)

    def _add_link(self, at: int, path: tuple[str, ...]) -> None:
        target = os.readlink(path[-1], dir_fd=at)
        if not stays_inside(target, len(path) - 1):
            self._skip(path)
            return
        self._count_entry(0)
        entry = _entry(self._tar_name(path), tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._tar.addfile(entry)
        self._note(self._links, f"./{'/'.join(path)}")

    def _tar_name(self, path: tuple[str, ...]) -> str:
        return "/".join((self._inputs.name, *path))

    def _skip(self, path: tuple[str, ...]) -> None:
        self._count_entry(0)
        self._note(self._packed.skipped, "/".join(path))

    def _count_entry(self, size: int) -> None:
        """Count one entry and its bytes. Raises `TooLarge` with the limits."""
        try:
            self._budget.take(size)
        except TooLarge:
            limit = (
                f"{self._inputs.max_bytes} bytes (uploadLimit) or {UPLOAD_LIMITS.entries} files and folders"
            )
            raise TooLarge(f"it has more than {limit}; name what is not needed in uploadExcludes") from None


def all_names(at: int, allowance: Allowance) -> list[str]:
    """All names in an open folder, sorted. Raises `TooLarge` if there are more than the allowance permits.

    If the allowance's time is over, names are missing: the caller has to check the time.
    """
    names = sorted(names_in(at, allowance))
    if allowance.entries < 0:
        raise TooLarge("one of its folders has too many entries; name it in uploadExcludes")
    return names


def stays_inside(target: str, depth: int) -> bool:
    """Whether a link stays in its uploaded folder, whatever other links the folder has.

    `depth`: the number of folders between the uploaded folder and the link.
    """
    if len(target) > 1000 or _ODD_CHARACTER.search(target) or not _DOTS_FIRST.fullmatch(target):
        return False
    return target.split("/").count("..") <= depth


def _entry(name: str, kind: bytes, mode: int, size: int = 0, when: float = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.mtime = kind, mode, size, max(0, int(when))
    return entry


class _HashingFile(io.RawIOBase):
    """Writes bytes to a file, and computes their sha256. More than `limit` bytes raise `TooLarge`."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self.size = 0
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(f"it has more than {self._limit} bytes when it is packed")
        self.hash.update(data)
        self._file.write(data)
        self._file.flush()
        return len(data)
