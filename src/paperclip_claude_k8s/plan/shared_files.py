"""The list of the shared volume's files that an agent gets, with digests by which its relay verifies them.

Other agents can write to that volume at any time. So the relay copies each listed file into the Pod's own
folder, compares the copies with the list, and starts the agent only if all copies match. The agent reads the
copies. The list itself is in the run Secret, where no agent can write. Its columns are digest, size, `x` for
an executable file, and name; a `folder` line names the folder of the files after it:

    folder - - .paperclip/instances/default/companies/co/claude-prompt-cache/1f3a…/.claude/skills/helper
    5891b5b522d5df08… 1042 - SKILL.md
    0ba904eae8773b70… 311 x run.sh
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.plan.paths import SCRATCH_DIR

LIST_FILE = "shared-files.txt"
"""The list, among the run's files."""
_UNLISTABLE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SharedFile:
    """One file. `path` is relative to the shared volume."""

    path: str
    sha256: str
    size: int
    executable: bool = False

    @classmethod
    def of(cls, path: str, content: bytes, *, executable: bool = False) -> Self:
        return cls(path, hashlib.sha256(content).hexdigest(), len(content), executable)


def path_of_copy(path: str) -> str:
    """The path in the Pod of the verified copy. `path` is relative to the shared volume."""
    return f"{SCRATCH_DIR}/{relay.COPIES}/{path}"


def is_listable(name: str) -> bool:
    """Whether the list can hold this name: it is UTF-8 in one line, and the shell reads it unchanged."""
    return not _UNLISTABLE.search(name) and name == name.strip(" ")


def render_list(files: Iterable[SharedFile]) -> str:
    """The list as the relay reads it; "" if there are no files. Every path must be listable."""
    return "".join(f"{line}\n" for line in _lines(files))


def _lines(files: Iterable[SharedFile]) -> Iterator[str]:
    by_folder = groupby(sorted(files, key=lambda file: posixpath.split(file.path)), key=_folder)
    for folder, group in by_folder:
        yield f"folder - - {folder}"
        for file in group:
            mode = "x" if file.executable else "-"
            yield f"{file.sha256} {file.size} {mode} {posixpath.basename(file.path)}"


def _folder(file: SharedFile) -> str:
    return posixpath.dirname(file.path)
