"""Decides what an upload leaves out of a host's folder: what git's ignore files or the config name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from paperclip_claude_k8s.base.ignore_patterns import IgnorePattern, is_ignored, read_patterns
from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS
from paperclip_claude_k8s.base.work_limit import WorkLimit
from paperclip_claude_k8s.volume.safefs import FILE_FLAGS, Budget, open_at, open_folders, read_content

_GITIGNORE = ".gitignore"
_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The patterns of what is left out in one folder. `of_folder` returns the rules of a folder in it."""

    excludes: tuple[IgnorePattern, ...] = ()
    """Patterns of the config, which apply in all folders. No `.gitignore` can negate them."""
    rules: tuple[tuple[int, IgnorePattern], ...] = ()
    """Patterns from `.gitignore` files, each with the depth of the folder that contains the file."""
    reads_files: bool = True
    """Whether the files `.gitignore` and `.git/info/exclude` are read."""

    def of_folder(self, at: int, depth: int) -> "IgnoreRules":
        """The rules in an open folder, whose descriptor is `at`, at this depth below the top."""
        if not self.reads_files:
            return self
        own = _read_pattern_file(at, ".git", "info", "exclude") if depth == 0 else ()
        own += _read_pattern_file(at, _GITIGNORE)
        if not own:
            return self
        found = (*self.rules, *((depth, pattern) for pattern in own))
        return IgnoreRules(self.excludes, tuple(islice(found, UPLOAD_LIMITS.ignore_patterns)))

    def ignores(self, path: Sequence[str], limit: WorkLimit, *, is_folder: bool) -> bool:
        """Whether an entry of the folder with these rules is left out. `path`: relative to the top.

        The patterns from `.gitignore` files do not apply to `.git`, as in git.

        Raises `TakesTooLong`: thousands of long patterns take seconds for one path.
        """
        excludes = ((0, pattern) for pattern in self.excludes)
        if is_ignored(path, excludes, is_folder=is_folder, check=limit.check):
            return True
        return path[0] != ".git" and is_ignored(path, self.rules, is_folder=is_folder, check=limit.check)


@dataclass(slots=True)
class _FolderRules:
    """The rules in one folder, and whether the folder itself is left out."""

    name: str
    rules: IgnoreRules
    is_left_out: bool


@dataclass(slots=True)
class PathRules:
    """Decides which paths below an open folder are left out. Fast for paths of the same folder in a row.

    Only the folders above the last path are remembered: an agent can name a million folders.
    """

    top: int
    of_config: IgnoreRules
    limit: WorkLimit
    _chain: list[_FolderRules] = field(default_factory=list)
    """The top folder, and the folders above the last path."""

    def leaves_out(self, path: tuple[str, ...]) -> bool:
        """Whether the file of this path, or a folder above it, is left out. Raises `TakesTooLong`."""
        folders = path[:-1]
        self._go_to(folders)
        last = self._chain[-1]
        return last.is_left_out or last.rules.ignores(path, self.limit, is_folder=False)

    def _go_to(self, folders: tuple[str, ...]) -> None:
        """Make `_chain` lead to this folder. The folders that it shares with the last path are kept."""
        if not self._chain:
            self._chain.append(_FolderRules("", self._read(self.of_config, ()), is_left_out=False))
        same = 0
        while same < min(len(folders), len(self._chain) - 1) and self._chain[same + 1].name == folders[same]:
            same += 1
        del self._chain[same + 1 :]
        for depth in range(same, len(folders)):
            above, path = self._chain[-1], folders[: depth + 1]
            left_out = above.is_left_out or above.rules.ignores(path, self.limit, is_folder=True)
            rules = above.rules if left_out else self._read(above.rules, path)
            self._chain.append(_FolderRules(folders[depth], rules, left_out))

    def _read(self, above: IgnoreRules, folder: tuple[str, ...]) -> IgnoreRules:
        try:
            with open_folders(self.top, folder) as at:
                return above.of_folder(at, len(folder))
        except OSError:  # a new folder of the agent, which the host does not have yet
            return above


def _read_pattern_file(at: int, *path: str) -> tuple[IgnorePattern, ...]:
    """The patterns of a file in an open folder; none if the file cannot be read. Links are not followed."""
    *folders, name = path
    try:
        with open_folders(at, folders) as here, open_at(here, name, FILE_FLAGS) as file:
            return read_patterns(read_content(file, Budget(_MAX_BYTES, 1)).decode("utf-8", "replace"))
    except OSError:
        return ()


def rules_for(excludes: tuple[str, ...], *, with_ignored: bool) -> IgnoreRules:
    """The rules of a config: `uploadExcludes` and `uploadIgnored`."""
    return IgnoreRules(read_patterns("\n".join(excludes)), reads_files=not with_ignored)
