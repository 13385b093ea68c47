"""The in-pod relay: its script, the env variables it reads, and the summary it leaves behind (SPEC 3)."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

DIR = "PAPERCLIP_RELAY_DIR"
"""Folder of the relay's own files, on an emptyDir."""
PROMPT = "PAPERCLIP_RELAY_PROMPT"
"""File the agent gets as its stdin."""
OUT = "PAPERCLIP_RELAY_OUT"
"""File on the shared volume that gets a copy of stdout, or nothing; its folder is made, mode 0700.
Where POD is set its first characters are put into the name, as `plan.run_log.path_of_pod` does."""
STARTED = "PAPERCLIP_RELAY_STARTED"
"""Folder on the shared volume; an empty file in it, named by the Pod's uid, says that the relay has begun."""
POD = "PAPERCLIP_RELAY_POD"
"""Uid of the Pod."""
ONLY_POD = "PAPERCLIP_RELAY_ONLY_POD"
"""Uid of the only Pod that may start the agent; empty or not set: any may."""
NONCE = "PAPERCLIP_RELAY_NONCE"
"""Eight hex digits that stand in every marked line."""
LIMIT = "PAPERCLIP_RELAY_LIMIT"
"""Bytes of stdout or stderr at which the agent is ended; 0 is none."""
MESSAGE = "PAPERCLIP_RELAY_MESSAGE"
"""File of the container's termination message."""
BOOKMARK_SEC = "PAPERCLIP_RELAY_BOOKMARK_SEC"
"""Seconds of quiet after which a bookmark is written; 20 where it is not set."""
COPY_SEC = "PAPERCLIP_RELAY_COPY_SEC"
"""Longest wait for the copy on the shared volume after the log has ended, seconds; 10 where it is not set."""

NO_PROMPT_CODE = 66
"""Exit code of a relay that found no prompt."""
NOT_ONLY_POD_CODE = 67
"""Exit code of a relay that did not start the agent, since another Pod of its Job has run it."""


@cache
def script() -> str:
    """The relay as text for `sh -c TEXT relay COMMAND...`, without its comments: it goes into every Job."""
    lines = files(__package__).joinpath("relay.sh").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#")) + "\n"


@dataclass(frozen=True, slots=True)
class RelaySummary:
    """What the relay counted: stdout's bytes, newlines and digest, and the facts of the run's result.

    A result that a later answer or turn has overtaken is not the run's: `is_error` is None then, and where
    there was no result.
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
    """What told last how the run stood: "result", "answer" or "init"; None where nothing did."""
    copied: int | None = None
    """Bytes of stdout in the copy on the shared volume; None where none was asked for."""
    copy_trouble: str | None = None
    """Why the copy ends there, where it is not whole."""


def read_summary(message: str | None, nonce: str) -> RelaySummary | None:
    """The summary in a termination message; None for any other text, such as a runtime's own."""
    try:
        told = orjson.loads(message or "")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict) or told.get("relay") != nonce:
        return None
    size, lines, code = (told.get(key) for key in ("bytes", "lines", "exit"))
    if not (isinstance(size, int) and isinstance(lines, int) and isinstance(code, int)):
        return None
    return RelaySummary(
        bytes=size,
        lines=lines,
        sha256=_of(told, "sha256", str),
        exit_code=code,
        session_id=_of(told, "session", str),
        subtype=_of(told, "subtype", str),
        is_error=_of(told, "is_error", bool),
        cost_usd=_of(told, "cost", (int, float)),
        limit_hit=told.get("limit") is True,
        last=_of(told, "last", str),
        copied=_of(told, "copied", int),
        copy_trouble=_of(told, "copy_trouble", str),
    )


def _of(told: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401  # of that kind
    """The field, or None if it is missing or of another type.

    Unlike `get_text` of `base.json_readers` this tells "" from a missing field.
    """
    value = told.get(key)
    return value if isinstance(value, kind) else None
