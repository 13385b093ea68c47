"""Which entries of a host's folder are left out: those that `.gitignore` files and the config name."""

import os
from dataclasses import dataclass
from itertools import islice

from paperclip_claude_k8s.base.ignore_patterns import IgnorePattern, is_ignored, read_patterns
from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, Budget, open_at, read_content

_FILE = ".gitignore"
_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """What is left out in one folder. `below` gives the rules of a folder in it."""

    excludes: tuple[IgnorePattern, ...] = ()
    """Those of the config. They count more than all others, and in all folders."""
    rules: tuple[tuple[int, IgnorePattern], ...] = ()
    """Depth of the folder whose file contains the pattern, and the pattern."""
    reads_files: bool = True
    """Whether `.gitignore` files count."""

    def of_folder(self, at: int, depth: int) -> "IgnoreRules":
        """The rules in an open folder at this depth below the top, with those of its own file."""
        if not self.reads_files:
            return self
        found = [*self.rules]
        if depth == 0:
            found += [(0, pattern) for pattern in _read(at, ".git", "info", "exclude")]
        found += [(depth, pattern) for pattern in _read(at, _FILE)]
        return IgnoreRules(self.excludes, tuple(islice(found, UPLOAD_LIMITS.ignore_patterns)))

    def ignores(self, path: tuple[str, ...], *, is_folder: bool) -> bool:
        """Whether an entry of that folder is left out. `path`: relative to the top."""
        if is_ignored(path, [(0, pattern) for pattern in self.excludes], is_folder=is_folder):
            return True
        return path[0] != ".git" and is_ignored(path, self.rules, is_folder=is_folder)


def _read(at: int, *path: str) -> tuple[IgnorePattern, ...]:
    """The patterns of a file in an open folder; none if it cannot be read. Links are not followed."""
    *folders, name = path
    try:
        here = os.dup(at)
        try:
            for folder in folders:
                with open_at(here, folder) as below:
                    os.dup2(below, here, inheritable=False)
            with open_at(here, name, FILE_FLAGS) as file:
                return read_patterns(read_content(file, Budget(_MAX_BYTES, 1)).decode("utf-8", "replace"))
        finally:
            os.close(here)
    except OSError:
        return ()


def rules_for(excludes: tuple[str, ...], *, with_ignored: bool) -> IgnoreRules:
    """The rules of a config: `uploadExcludes` and `uploadIgnored`."""
    return IgnoreRules(read_patterns("\n".join(excludes)), reads_files=not with_ignored)
