"""Readers of JSON whose shape nobody promised: what does not fit is nothing (HOST.md 7.1)."""

import math
from collections.abc import Mapping

from paperclip_claude_k8s.host.context import JsonMap


def as_text(value: object, default: str = "") -> str:
    """A non-empty string as it is, untrimmed; else the default."""
    return value if isinstance(value, str) and value else default


def as_number(value: object, default: float) -> float:
    """A finite number; the text of one is not one."""
    if isinstance(value, float):
        return value if math.isfinite(value) else default
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def as_flag(value: object, *, default: bool = False) -> bool:
    """A real boolean; neither "true" nor 1 is one."""
    return value if isinstance(value, bool) else default


def as_texts(value: object) -> list[str]:
    """The strings of a list, the empty ones too."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def as_object(value: object) -> JsonMap:
    """An object with string keys; anything else, lists too, is an empty one."""
    if not isinstance(value, Mapping):
        return {}
    return {key: item for key, item in value.items() if isinstance(key, str)}


def as_objects(value: object) -> list[JsonMap]:
    """The non-empty objects of a list."""
    items = value if isinstance(value, (list, tuple)) else ()
    return [found for item in items if (found := as_object(item))]


def as_label(value: object) -> str | None:
    """An id or a name: trimmed, None when nothing is left."""
    return value.strip() or None if isinstance(value, str) else None


def as_labels(value: object) -> list[str]:
    """The labels of a list."""
    return [label for item in as_texts(value) if (label := as_label(item))]
