"""Parses a line into an event, and reads fields, which may be missing, hostile or of unexpected types."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import orjson

from paperclip_claude_k8s.base.json_readers import as_number, get_number, get_text
from paperclip_claude_k8s.base.json_sizes import has_at_most, small_enough_to_parse
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import strict_copy

Event: TypeAlias = Mapping[str, Any]
MAX_COUNT = LIMITS.tokens
"""Numbers above this are not counts of tokens or turns."""
BOM = b"\xef\xbb\xbf"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_json(line: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The JSON value on this line, or None if it is not JSON, or too large: see `small_enough_to_parse`.

    Real output contains lone surrogates and broken UTF-8, which only the standard library accepts. They
    become U+FFFD.
    """
    if not small_enough_to_parse(line):
        return None
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        if not has_at_most(LIMITS.repaired_values, line):
            return None
        try:
            return strict_copy(json.loads(line.removeprefix(BOM).decode("utf-8", "replace")))
        except (ValueError, RecursionError):
            return None


def read_event(line: bytes) -> Event | None:
    """The event on this line: a JSON object whose `type` is a string and not empty; else None."""
    value = read_json(line)
    return value if isinstance(value, dict) and get_text(value, "type") else None


def count(source: Event, key: str) -> int:
    """A count of tokens or turns; 0 if it is missing, not a number, negative or above `MAX_COUNT`."""
    value = get_number(source, key)
    return int(value) if value is not None and 0 <= value <= MAX_COUNT else 0


def believable_cost(value: object) -> float | None:
    """A cost in US dollars; None if it is not a number, negative or above `Limits.cost_usd`."""
    cost = as_number(value, None)
    return cost if cost is not None and 0 <= cost <= LIMITS.cost_usd else None


def get_name(source: Event, key: str) -> str:
    """A name that people read, such as that of a model, in one short line; empty if it is missing."""
    return as_name(get_text(source, key))


def as_name(text: str) -> str:
    """The text without control characters and blanks at its ends, cut to `Limits.name_chars`."""
    beginning = text[: LIMITS.name_chars]
    return (beginning if beginning.isprintable() else _CONTROL.sub("", beginning)).strip()
