"""JSON that every strict reader takes: valid UTF-8, finite numbers, nesting within reason."""

import json
import math
from collections.abc import Mapping
from typing import Any

DEEPEST = 200
"""Levels that are kept: jq before 1.7 reads 256, and nothing that means something is deeper."""
TOO_DEEP = "(nested too deeply)"
_LARGEST = 2**63
"""Whole numbers from here on are floats to many readers; so they are written as such."""


def strict_json(value: object, *, indent: int | None = None) -> bytes:
    """The value as one JSON text without a newline at its end.

    Lone surrogates, which JSON can spell and UTF-8 cannot hold, become U+FFFD. Raises TypeError for a value
    that is no JSON value.
    """
    separators = None if indent else (",", ":")
    plain = readable(value)
    return json.dumps(
        plain, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    ).encode()


def readable(value: object, depth: int = 0) -> Any:  # noqa: ANN401  # any JSON value
    """The same value with nothing in it that a strict reader refuses; strangers are left as they are."""
    match value:
        case str():
            return _encodable(value)
        case int() | float() if not isinstance(value, bool):
            return _finite(value)
        case Mapping() | list() | tuple():
            return _inside(value, depth + 1) if depth < DEEPEST else TOO_DEEP
    return value


def _inside(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> Any:  # noqa: ANN401  # same kind
    if isinstance(value, Mapping):
        return {_encodable(str(key)): readable(inner, depth) for key, inner in value.items()}
    return [readable(inner, depth) for inner in value]


def _encodable(text: str) -> str:
    """Two halves of a pair side by side are one character again; a half alone is none."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    if isinstance(value, int) and abs(value) < _LARGEST:
        return value
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None
