"""Rules about where on this host a file or folder may be."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape

from paperclip_claude_k8s.base.host_files import KERNEL_FOLDERS


@dataclass(frozen=True, slots=True)
class FolderRule:
    """Where a file or folder may be.

    All paths are absolute. In a path of the rule, `*` stands for any text without a slash.
    """

    roots: tuple[str, ...] | None = None
    """The file or folder must be in one of these, or be one of them. None: anywhere that is not refused."""
    refused: tuple[str, ...] = ()
    """Without `roots`: the file or folder must not be in one of these, or be one of them."""
    refused_themselves: tuple[str, ...] = ()
    """Without `roots`: the file or folder must not be one of these, but may be in one."""
    private: tuple[str, ...] = ()
    """With `roots`: the file or folder must not be one of these, be in one or contain one. Exception:
    such a folder refuses nothing if the root that allows the path is this folder or is in it."""
    within: str = ""
    """If it is set, the file or folder must also be in this folder, or be it."""

    def allows(self, path: str) -> bool:
        """Whether the rule allows this path, in which the caller has resolved all links.

        No rule allows a path below /proc, /sys or /dev. This call blocks, because it resolves the links in
        the rule's own paths.
        """
        roots = None if self.roots is None else _with_real(self.roots)
        if self.within and not is_in(path, _with_real((self.within,))):
            return False
        refused, private = _with_real(self.refused), _with_real(self.private)
        return FolderRule(roots, refused, _with_real(self.refused_themselves), private).allows_name(path)

    def allows_name(self, path: str) -> bool:
        """As `allows`, but only the names are compared: no link is resolved."""
        if is_in(path, KERNEL_FOLDERS) or (self.within and not is_in(path, [self.within])):
            return False
        if self.roots is not None:
            roots = [root for root in self.roots if is_in(path, [root])]
            private = [folder for folder in self.private if is_in(path, [folder]) or is_in(folder, [path])]
            return bool(roots) and all(any(is_in(root, [folder]) for root in roots) for folder in private)
        # in a folder of `refused_themselves`, a path needs at least one name more than the folder
        below = [f"{folder}/*" for folder in self.refused_themselves if is_in(path, [folder])]
        return not is_in(path, self.refused) and all(is_in(path, [pattern]) for pattern in below)


def is_in(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders, or in one, by their names."""
    parts = normal_path(path).rstrip("/").split("/")
    return any(_begins_with(parts, folder) for folder in folders)


def normal_path(path: str) -> str:
    """The absolute path without `.`, `..`, repeated and trailing slashes; its links are not resolved."""
    return "/" + os.path.normpath(path).strip("/")


def _with_real(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders, and also their paths with all links resolved."""
    return tuple({*folders, *map(os.path.realpath, folders)})


def _begins_with(parts: list[str], folder: str) -> bool:
    escaped = escape(normal_path(folder)).replace("[*]", "*")  # no other character is special
    patterns = escaped.rstrip("/").split("/")
    return len(patterns) <= len(parts) and all(map(fnmatchcase, parts, patterns))
