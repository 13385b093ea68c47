"""Bytes of one line → one event, and readers for fields that may be missing or of any type."""

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from paperclip_claude_k8s.base.strict_json import readable

Event: TypeAlias = Mapping[str, Any]
BEYOND_REASON = 10**15
BOM = b"\xef\xbb\xbf"


def read_json(line: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The line's value, or None where it is no JSON.

    Lone surrogates and broken UTF-8 are real; only the standard library takes them. They become U+FFFD.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            return readable(json.loads(line.removeprefix(BOM).decode("utf-8", "replace")))
        except (ValueError, RecursionError):
            return None


def read_event(line: bytes) -> Event | None:
    """The event on this line: a JSON object with a type that is text and not empty."""
    value = read_json(line)
    return value if isinstance(value, dict) and text(value, "type") else None


def text(source: Event, key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""


def inner(source: Event, key: str) -> Event:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def items(source: Event, key: str) -> list[Any]:
    value = source.get(key)
    return value if isinstance(value, list) else []


def number(source: Event, key: str) -> float | None:
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def count(source: Event, key: str) -> int:
    """A count of tokens or turns; 0 where it is missing, odd or beyond all reason."""
    value = number(source, key)
    return int(value) if value is not None and 0 <= value < BEYOND_REASON else 0
