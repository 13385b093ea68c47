"""Rules about where on this host a file or folder may be."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from paperclip_claude_k8s.base.host_files import KERNEL_FOLDERS


@dataclass(frozen=True, slots=True)
class FolderRule:
    """Where a file or folder may be.

    All paths are absolute. In a path of the rule, `*` stands for any text without a slash.
    """

    roots: tuple[str, ...] | None = None
    """It must be in one of these folders, or be one of them. None: anywhere that is not refused."""
    refused: tuple[str, ...] = ()
    """Without `roots`: it must not be in one of these folders, or be one of them."""

    def allows(self, path: str) -> bool:
        """Whether the rule allows this path, in which the caller has resolved all links.

        Never what is below /proc, /sys or /dev. Blocks, because links in the rule's own paths are resolved.
        """
        if is_in(path, KERNEL_FOLDERS):
            return False
        return not is_in(path, self.refused) if self.roots is None else is_in(path, self.roots)


def is_in(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders, or in one, by their names or after their links are resolved."""
    parts = normal_path(path).rstrip("/").split("/")
    return any(_begins_with(parts, folder) for folder in {*folders, *map(os.path.realpath, folders)})


def normal_path(path: str) -> str:
    """The absolute path without `.`, `..`, repeated and trailing slashes; its links are not resolved."""
    return "/" + os.path.normpath(path).strip("/")


def _begins_with(parts: list[str], folder: str) -> bool:
    patterns = normal_path(folder).rstrip("/").split("/")
    return len(patterns) <= len(parts) and all(map(fnmatchcase, parts, patterns))
