"""Parses one line into an event; reads a count that may be missing or have an unexpected type."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from paperclip_claude_k8s.base.json_readers import get_number, get_text
from paperclip_claude_k8s.base.strict_json import strict_value

Event: TypeAlias = Mapping[str, Any]
MAX_COUNT = 10**15
"""Numbers from this on are not counts of tokens or turns."""
BOM = b"\xef\xbb\xbf"


def read_json(line: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The JSON value on this line, or None if it is not JSON.

    Real output contains lone surrogates and broken UTF-8, which only the standard library accepts. They
    become U+FFFD.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            return strict_value(json.loads(line.removeprefix(BOM).decode("utf-8", "replace")))
        except (ValueError, RecursionError):
            return None


def read_event(line: bytes) -> Event | None:
    """The event on this line: a JSON object whose `type` is a string and not empty; else None."""
    value = read_json(line)
    return value if isinstance(value, dict) and get_text(value, "type") else None


def count(source: Event, key: str) -> int:
    """A count of tokens or turns; 0 if it is missing, not a number, negative or at least `MAX_COUNT`."""
    value = get_number(source, key)
    return int(value) if value is not None and 0 <= value < MAX_COUNT else 0
