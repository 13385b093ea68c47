"""Classifies a line of the agent's stdout: an event, a piece of a truncated event, or plain text."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Never

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.torn_lines import torn_type
from paperclip_claude_k8s.claude.ui.values import BLANKS, Json

STATUS_PREFIX = "[paperclip] "
"""Prefix of the lines that the adapter itself writes."""
MAX_DEPTH = 200
"""Levels of nesting that are read. No event is deeper, and Python's JSON parser supports fewer levels than
JavaScript's."""
MAX_VALUES = LIMITS.event_values
"""An event with more commas and opening brackets, each of which may precede a value, is not parsed but shown
as a piece."""
MAX_INTEGER_CHARS = 15
"""Integers with more characters are read as floats, as in JavaScript."""

_IN_LAST_PART = re.compile(r'"session_id":"[0-9a-f-]{36}"|"type":"result"')
"""Recognises the last part of an event whose beginning is missing: by its session id. In a `result` of CLI
2.1.332 and later the session id stands before the long text, and only the type stands after it."""
_UUID = re.compile(r'"uuid":"[0-9a-f-]{36}"')


@dataclass(frozen=True, slots=True)
class Plain:
    """Text that is not an event. `status`: the adapter wrote it, not the agent."""

    text: str
    status: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an event: the CLI was killed while it wrote the line, or the host shortened the chunk.

    `type` is that of the event; empty if this is not the first part of the line.
    """

    type: str
    text: str


def read_line(line: str) -> Json | Piece | Plain:
    """Classify the line. An event is an object with a non-empty string `type`; other JSON is plain text."""
    text = line.rstrip("\r\n")
    bare = text.strip(BLANKS)
    if not bare:
        return Plain("")
    if text.startswith(STATUS_PREFIX):
        return Plain(text, status=True)
    value = _read_json(bare) if bare.startswith("{") and not _too_large(bare) else None
    if isinstance(value, dict):
        kind = value.get("type")
        return value if isinstance(kind, str) and kind else Plain(text)
    kind = _type_of_piece(bare)
    return Plain(text) if kind is None else Piece(kind, bare)


def _type_of_piece(text: str) -> str | None:
    """The type of a truncated event, empty if its beginning is missing; None if the text is no event."""
    kind = torn_type(text)
    if kind is None and _IN_LAST_PART.search(text) and _UUID.search(text):
        return ""
    return kind


def _read_json(text: str) -> Any:  # noqa: ANN401  # any JSON value
    """Parse JSON as JavaScript does: without NaN, and with its range of numbers."""
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return None if _too_deep(value) else value


def _too_large(text: str) -> bool:
    return len(text) > MAX_VALUES and sum(map(text.count, ",[{")) > MAX_VALUES


def _integer(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= MAX_INTEGER_CHARS else _float(digits)


def _float(digits: str) -> float | None:
    """The float, or None beyond the largest one: JSON has no infinity."""
    value = float(digits)
    return value if math.isfinite(value) else None


def _refuse_constant(word: str) -> Never:
    raise ValueError(word)


def _too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
