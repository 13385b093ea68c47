"""Which way each file of a run reaches its Pod: run Secret, init container, or shared volume (SPEC 3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from paperclip_claude_k8s.host.redact import holds_secret, is_secret_name
from paperclip_claude_k8s.plan.environment import FILE_PREFIX
from paperclip_claude_k8s.plan.paths import POD_HOME, RUN_DIR

FOLDER = "run-files"
"""Below the shared volume: what is too large for a Secret, in a folder of its Job's name."""

STAGED_NOTE = "staged.txt"
"""Says where the files are when all of them are on the volume."""

Texts = Mapping[str, str]
"""File name → text."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Every file of a run, by its way. `staged_in` is the folder below the shared volume."""

    secret: Texts = field(default_factory=dict, repr=False)
    init: Texts = field(default_factory=dict, repr=False)
    staged: Texts = field(default_factory=dict, repr=False)
    staged_in: str = ""

    def path(self, name: str) -> str:
        """Where the agent finds the file."""
        return f"{POD_HOME}/{self.staged_in}/{name}" if name in self.staged else f"{RUN_DIR}/{name}"


def is_private(name: str, text: str) -> bool:
    """May this file only travel in a Secret? Variables that outgrew the environment keep their nature."""
    variable = name.removeprefix(FILE_PREFIX) if name.startswith(FILE_PREFIX) else ""
    return is_secret_name(variable) or (name != "prompt.txt" and holds_secret(text))


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to deliver by: `limit` bytes for a Secret or a Job, and a folder where there is one."""

    how: Literal["secret", "init"]
    limit: int
    folder: str = ""
    also_secret: int = 0
    """Bytes that share the Secret: values of variables."""
    movable: frozenset[str] = frozenset()
    """Names of the files that may lie elsewhere: whoever reads them is told where."""


def deliver(files: Texts, private: Callable[[str, str], bool], room: Room) -> Delivery:
    """Split the files; what must not be seen stays in the Secret, and the largest others make room."""
    hidden = {name: text for name, text in files.items() if private(name, text)}
    open_ones = {name: text for name, text in files.items() if name not in hidden}
    by_init = room.how == "init"
    taken = 0 if by_init else room.also_secret + sum(map(size, hidden.values()))
    staged = _too_many(open_ones, room.limit - taken, room.movable) if room.folder else {}
    rest = {name: text for name, text in open_ones.items() if name not in staged}
    if by_init:
        return Delivery(hidden, rest, staged, room.folder)
    # a Secret without a single file would show the agent all its values as files
    return Delivery({**rest, **hidden} or {STAGED_NOTE: room.folder}, {}, staged, room.folder)


def size(text: str) -> int:
    """Bytes in UTF-8; a lone surrogate counts as what it would take."""
    return len(text.encode("utf-8", "surrogatepass"))


def _too_many(files: Texts, limit: int, movable: frozenset[str]) -> Texts:
    """The largest that may be moved, as many as it takes for the others to fit."""
    total = sum(map(size, files.values()))
    moved: dict[str, str] = {}
    for name, text in sorted(files.items(), key=lambda item: -size(item[1])):
        if total <= limit:
            break
        if name not in movable:
            continue
        moved[name] = text
        total -= size(text)
    return moved
