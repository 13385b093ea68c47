"""Writes JSON that strict readers accept: valid UTF-8, no NUL, finite numbers, limited nesting."""

import json
import math
from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.base.text import escape_in_json

MAX_DEPTH = 200
"""Levels of nesting that are kept. jq before 1.7 reads 256 levels; real values need fewer than 200."""
TOO_DEEP = "(nested too deeply)"
REPLACEMENT = "\ufffd"
_FLOAT_FROM = 2**63
"""Integers from this size on are written as floats, because many readers parse them as floats."""


def strict_json(value: object, *, indent: int | None = None) -> bytes:
    """The value as one JSON text without a newline at its end.

    Lone surrogates and NUL, which PostgreSQL cannot store, become U+FFFD; NaN, infinities and integers too
    large for a float become null; what is nested too deeply becomes `TOO_DEEP`. With `indent` the text is for
    people as well: characters that control a terminal or that nobody sees are escaped.

    Raises:
        TypeError: the value contains something that is not a JSON value.
    """
    separators = None if indent else (",", ":")
    plain = strict_copy(value)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    return (escape_in_json(text) if indent else text).encode()


def strict_copy(value: object, depth: int = 0) -> Any:  # noqa: ANN401  # any JSON value
    """A copy of the value without anything a strict reader rejects.

    A value that is not a string, number, object or array is returned unchanged.
    """
    match value:
        case str():
            return _encodable(value)
        case int() | float() if not isinstance(value, bool):
            return _finite(value)
        case Mapping() | list() | tuple():
            return _strict_container(value, depth + 1) if depth < MAX_DEPTH else TOO_DEEP
    return value


def is_too_deep(value: object, levels: int = MAX_DEPTH) -> bool:
    """Whether JSON has objects or arrays on more than this many levels; the outermost one is the first."""
    level = [value]
    for _ in range(levels):
        level = [inner for container in level for inner in _containers_in(container)]
    return bool(level)


def _containers_in(value: object) -> list[object]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, (dict, list))]


def _strict_container(
    value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], depth: int
) -> dict[str, Any] | list[Any]:
    if isinstance(value, Mapping):
        return {_encodable(str(key)): strict_copy(inner, depth) for key, inner in value.items()}
    return [strict_copy(inner, depth) for inner in value]


def _encodable(text: str) -> str:
    """The text with surrogate pairs joined, and with lone surrogates and NUL replaced by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finite(value: float) -> float | None:
    """The number, as a float if it is a large integer; None for NaN, infinity or more than a float holds."""
    if isinstance(value, int) and abs(value) < _FLOAT_FROM:
        return value
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None
