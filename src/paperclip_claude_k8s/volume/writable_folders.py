"""Decides in which folders of an uploaded folder an agent's changes may be applied."""

import errno
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, open_at, open_folders

HEAD = "HEAD"
_HEAD_TEXT = re.compile(rb"ref:\s*refs/|[0-9a-fA-F]{40}")
"""How the file `HEAD` of a git repository begins: with a reference, or with a commit."""


@dataclass(slots=True)
class WritableFolders:
    """Examines folders below an open folder, each one once.

    A folder with a file `HEAD` that begins in this way is a repository for git, whatever its name is: in this
    folder, git reads the file `config` and runs the programs that it names. The number of examined folders is
    limited, because an agent can name a million of them, and each new one takes space that `uploadLimit` does
    not limit.
    """

    top: int
    _is_repository: dict[tuple[str, ...], bool] = field(default_factory=dict)

    def check(self, folders: Sequence[str]) -> None:
        """Raises `OSError` if nothing may be changed in the folder of this path."""
        for depth in range(len(folders) + 1):
            folder = tuple(folders[:depth])
            if folder not in self._is_repository:
                if len(self._is_repository) >= UPLOAD_LIMITS.entries:
                    raise OSError(errno.EDOM, "there are too many folders")
                self._is_repository[folder] = self._examine(folder)
            if self._is_repository[folder]:
                raise PermissionError(errno.EPERM, "its folder is in a git repository without .git")

    def _examine(self, folder: tuple[str, ...]) -> bool:
        with suppress(OSError), open_folders(self.top, folder) as at:
            if stat.S_ISLNK(os.stat(HEAD, dir_fd=at, follow_symlinks=False).st_mode):
                return True
            with open_at(at, HEAD, FILE_FLAGS) as file:
                return _HEAD_TEXT.match(os.read(file, 256)) is not None
        return False  # there is no such folder or file, and `may_write` lets no agent create a `HEAD`
