"""The relay that runs in each Pod: its scripts, the environment variables it reads, and its summary.

The relay (`relay.sh`, started by `start.sh`) starts the agent with its stdout in a file and copies that file
to the container's log. Between complete lines of stdout it inserts marked lines, which contain lines of
stderr or are bookmarks. When the agent has ended, it writes a summary into the container's termination
message, which is kept even if the log is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from paperclip_claude_k8s.base.json_readers import get_int
from paperclip_claude_k8s.base.session_ids import as_session_id

DIR = "PAPERCLIP_RELAY_DIR"
"""Folder of the relay's internal files, on an emptyDir."""
PROMPT = "PAPERCLIP_RELAY_PROMPT"
"""File that becomes the agent's stdin."""
OUT = "PAPERCLIP_RELAY_OUT"
"""File on the shared volume for a copy of stdout; empty or not set: no copy. Missing folders are created with
mode 0700. If `POD` is set, the relay inserts the first characters of that uid into the file's name, as
`plan.run_log.path_of_pod` does."""
STARTED = "PAPERCLIP_RELAY_STARTED"
"""Folder on the shared volume for start marks: when the agent has started, the relay creates an empty file
there, whose name is the Pod's uid."""
POD = "PAPERCLIP_RELAY_POD"
"""Uid of the Pod."""
ONLY_POD = "PAPERCLIP_RELAY_ONLY_POD"
"""Uid of the only Pod that may start the agent; empty or not set: any Pod may."""
NONCE = "PAPERCLIP_RELAY_NONCE"
"""Eight hex digits, which follow the byte 0x1e at the beginning of every marked line. `start.sh` removes them
from the relay's environment, which the agent could read in /proc."""
VOLUME = "PAPERCLIP_RELAY_VOLUME"
"""Where the shared volume is mounted."""
FILES = "PAPERCLIP_RELAY_FILES"
"""List of the files on the shared volume that the agent gets (`plan.shared_files`); empty or not set: none.
The relay copies them into `DIR`/`COPIES`, and starts the agent only if the copies have the listed sha256."""
FILES_SEC = "PAPERCLIP_RELAY_FILES_SEC"
"""Longest time in seconds for copying these files; 60 if not set."""
SESSION = "PAPERCLIP_RELAY_SESSION"
"""Where the session volume is mounted, in which the relay creates the folders of CLAUDE_CONFIG_DIR and
XDG_CACHE_HOME; empty or not set: no such volume. If the relay cannot create the folders, the agent gets
folders in `DIR`."""
LIMIT = "PAPERCLIP_RELAY_LIMIT"
"""The agent is stopped when its stdout and its stderr together exceed this many bytes; 0: no limit. Of the
output beyond the limit, at most 8 MiB are copied to the log."""
MESSAGE = "PAPERCLIP_RELAY_MESSAGE"
"""Path of the container's termination message."""
BOOKMARK_SEC = "PAPERCLIP_RELAY_BOOKMARK_SEC"
"""Seconds without output after which a bookmark is written; 20 if not set."""
COPY_SEC = "PAPERCLIP_RELAY_COPY_SEC"
"""Longest wait in seconds for the copy on the shared volume after the log has ended; 10 if not set."""

ALIVE = "PAPERCLIP_RELAY_ALIVE"
"""Named pipe that the relay holds open as long as the container lives; empty or not set: none."""
EXPECT = "PAPERCLIP_RELAY_EXPECT"
"""If not empty, the agent should find files in its working directory, and the relay reports an empty one."""

NO_PROMPT_CODE = 66
"""Exit code of the relay if it found no prompt."""
NOT_ONLY_POD_CODE = 67
"""Exit code of the relay if it did not start the agent because another Pod of the Job has run it."""
FILES_CHANGED_CODE = 68
"""Exit code of the relay if it did not start the agent because a file on the shared volume was changed."""
ABOVE_LIMIT = 16 * 1024 * 1024
"""Upper bound of the bytes above `LIMIT` that the relay copies: 8 MiB, and as much again that one pass of the
copying loop may add before the limit is checked."""
COPIES = "volume"
"""Folder in `DIR` with the verified copies, which have the same relative paths as on the shared volume."""


def command(folder: str, agent: Sequence[str]) -> list[str]:
    """The command of the container: the relay, which runs the command line `agent`.

    `folder` contains the files of `scripts`. They are not part of the command, because each change of the Job
    or its Pod is sent to every watch with the whole command.
    """
    return ["sh", f"{folder}/start.sh", *agent]


def scripts() -> dict[str, str]:
    """File name → text of the scripts that `command` runs."""
    return {name: script(name) for name in ("start.sh", "relay.sh")}


@cache
def script(name: str) -> str:
    """A script of this package, without comments because every run has a copy in the cluster."""
    lines = files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#")) + "\n"


@dataclass(frozen=True, slots=True)
class RelaySummary:
    """The relay's counts and digest of stdout, and the main fields of the run's result.

    `session_id`, `subtype`, `is_error` and `cost_usd` are None if there was no result, or if an answer of the
    model or another turn followed it. `lines` counts newlines.
    """

    bytes: int
    lines: int
    sha256: str | None
    exit_code: int
    session_id: str | None = None
    subtype: str | None = None
    is_error: bool | None = None
    cost_usd: float | None = None
    limit_hit: bool = False
    last: str | None = None
    """The last event that shows the run's state: "result", "answer" (of the model), "init" (a turn began)."""
    copied: int | None = None
    """Bytes of stdout in the copy on the shared volume; None if no copy was requested."""
    copy_trouble: str | None = None
    """Why the copy is incomplete; None if it is complete or was not requested."""
    session_trouble: str | None = None
    """Why the session volume could not be used; None if it could, or if there is none."""
    changed: str | None = None
    """The changed file on the shared volume because of which the agent was not started; None if none was."""


def read_summary(message: str | None, nonce: str) -> RelaySummary | None:
    """The summary in a termination message; None for another message, such as the container runtime's."""
    try:
        summary = orjson.loads(message or "")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(summary, dict) or summary.get("relay") != nonce:
        return None
    size, lines, code = (get_int(summary, key) for key in ("bytes", "lines", "exit"))
    if size is None or lines is None or code is None or not min(size, lines) >= 0:
        return None
    return RelaySummary(
        bytes=size,
        lines=lines,
        sha256=_typed(summary, "sha256", str),
        exit_code=code,
        session_id=as_session_id(summary.get("session")),
        subtype=_typed(summary, "subtype", str),
        is_error=_typed(summary, "is_error", bool),
        cost_usd=_typed(summary, "cost", (int, float)),
        limit_hit=summary.get("limit") is True,
        last=_typed(summary, "last", str),
        copied=_typed(summary, "copied", int),
        copy_trouble=_typed(summary, "copy_trouble", str),
        session_trouble=_typed(summary, "session_trouble", str),
        changed=_typed(summary, "changed", str),
    )


def _typed(summary: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401  # an instance of `kind`
    """The field, or None if it is missing or of another type.

    Unlike `get_text` of `base.json_readers` this distinguishes "" from a missing field.
    """
    value = summary.get(key)
    return value if isinstance(value, kind) else None
