"""Reads JSON whose shape is not guaranteed: a value of an unexpected type is treated as absent.

`as_*` convert a value, `get_*` read a field of an object. None of them raises. `as_object` and `as_objects`
copy, `get_*` do not; whether empty values are kept is stated for each function.

    get_text({"name": 3}, "name")          ""
    get_objects({"a": [{}, "x"]}, "a")     [{}]
    as_number(True, 9)                     9, since a boolean is not a number
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

Json: TypeAlias = Mapping[str, Any]
D = TypeVar("D")
_MAX_BITS = sys.float_info.max_exp - 1
"""Integers of up to this many bits can be converted to a float; of those with one bit more, only some."""


def as_text(value: object, default: str = "") -> str:
    """A non-empty string unchanged, not trimmed; otherwise the default."""
    return value if isinstance(value, str) and value else default


def as_number(value: object, default: D) -> float | D:
    """A finite int or float; otherwise the default.

    Booleans and numeric strings are not numbers, nor are integers of more than 1,023 bits, which may be
    larger than any float.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else default
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value.bit_length() <= _MAX_BITS else default
    return default


def as_flag(value: object, *, default: bool = False) -> bool:
    """A JSON boolean; otherwise the default. "true" and 1 are not booleans."""
    return value if isinstance(value, bool) else default


def as_texts(value: object) -> list[str]:
    """The strings of a list, including empty ones."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def as_object(value: object) -> dict[str, Any]:
    """A copy of the object, without keys that are not strings; {} for anything else."""
    if not isinstance(value, Mapping):
        return {}
    return {key: item for key, item in value.items() if isinstance(key, str)}


def as_objects(value: object) -> list[dict[str, Any]]:
    """The non-empty objects of a list."""
    items = value if isinstance(value, (list, tuple)) else ()
    return [found for item in items if (found := as_object(item))]


def as_trimmed(value: object) -> str | None:
    """A trimmed string, such as an id or a name; None if it is empty or no string."""
    return value.strip() or None if isinstance(value, str) else None


def as_trimmed_texts(value: object) -> list[str]:
    """The strings of a list, trimmed, without empty ones."""
    return [trimmed for item in as_texts(value) if (trimmed := as_trimmed(item))]


def get_text(source: Json, key: str) -> str:
    """The string, which may be empty; "" if the field is missing or has another type."""
    value = source.get(key)
    return value if isinstance(value, str) else ""


def get_object(source: Json, key: str) -> dict[str, Any]:
    """The object itself, not a copy; {} if the field is missing or has another type."""
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def get_list(source: Json, key: str) -> list[Any]:
    """The list itself, not a copy; [] if the field is missing or has another type."""
    value = source.get(key)
    return value if isinstance(value, list) else []


def get_objects(source: Json, key: str) -> list[dict[str, Any]]:
    """The objects of a list, including empty ones; [] if the field is missing or has another type."""
    return [item for item in get_list(source, key) if isinstance(item, dict)]


def get_text_map(source: Json, key: str) -> dict[str, str]:
    """The entries of an object, such as `labels`, whose values are strings; {} if it is not an object."""
    return {name: value for name, value in get_object(source, key).items() if isinstance(value, str)}


def get_number(source: Json, key: str) -> float | None:
    """The finite number; None if the field is missing or has another type."""
    return as_number(source.get(key), None)


def get_int(source: Json, key: str) -> int | None:
    """The whole number; None if the field is missing or has another type."""
    value = source.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
