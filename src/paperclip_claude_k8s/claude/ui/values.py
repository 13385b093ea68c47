"""Reads fields of any type and formats numbers, with the same results as in JavaScript."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Entry: TypeAlias = dict[str, Any]
"""A transcript entry; its `ts` is set last."""

BLANKS = " \t\r\n"
"""The characters that count as blank, in both languages."""
MAX_NUMBER = 1e15
"""Larger numbers are not counts, and the two languages format them differently."""
LAST_SECOND = 253402300799
"""9999-12-31T23:59:59Z in epoch seconds."""
SHORT_CHARS = 200
"""Largest number of characters of a text that is a small part of a line."""
LONG_CHARS = 500
"""Largest number of characters of a text that is the main part of a line."""
DESCRIPTION_FIELDS = ("content", "text", "message", "summary", "description", "error", "reason")
"""Fields in which an event may describe itself."""

_BLANK_RUN = re.compile(f"[{BLANKS}]+")
_HINT = re.compile(r"(?: · | )?\(?ctrl\+o to (?:expand|see all|see more|see)\)?")


def text_of(given: Json, key: str) -> str:
    value = given.get(key)
    return value if isinstance(value, str) else ""


def object_of(given: Json, key: str) -> Json:
    value = given.get(key)
    return value if isinstance(value, dict) else {}


def items_of(given: Json, key: str) -> list[Any]:
    value = given.get(key)
    return value if isinstance(value, list) else []


def objects_of(given: Json, key: str) -> list[Json]:
    return [item for item in items_of(given, key) if isinstance(item, dict)]


def number_of(given: Json, key: str) -> float | None:
    """A number from 0 to `MAX_NUMBER`; None for anything else."""
    value = given.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MAX_NUMBER else None


def amount_of(given: Json, key: str) -> float:
    """As `number_of`, with 0 instead of None."""
    return number_of(given, key) or 0.0


def first_text(given: Json, *keys: str) -> str:
    """The first text that is not blank, without blanks at its ends."""
    return next((text for key in keys if (text := text_of(given, key).strip(BLANKS))), "")


def description_of(event: Json) -> str:
    """What the event says of itself, without hints such as `ctrl+o to expand`."""
    text = first_text(event, *DESCRIPTION_FIELDS)
    return _HINT.sub("", text) if "ctrl+o" in text else text


def name_of(event: Json, key: str) -> str:
    return short(text_of(event, key)) or "?"


def labelled(label: str, detail: str) -> str:
    return joined(": ", (label, detail))


def joined(separator: str, parts: Iterable[str]) -> str:
    return separator.join(part for part in parts if part)


def short(text: str, limit: int = SHORT_CHARS) -> str:
    """The text in one line of at most `limit` characters. A surrogate pair counts as one character."""
    return clipped(_BLANK_RUN.sub(" ", text).strip(BLANKS), limit)


def clipped(text: str, limit: int) -> str:
    """At most `limit` characters of the text. A surrogate pair counts as one character."""
    if len(text) <= limit:
        return text
    # the slice has more than `limit` characters even if all are surrogate pairs, which are then joined
    text = text[: 2 * limit + 2].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def utf16_length(text: str) -> int:
    """The length of the text in JavaScript, in UTF-16 code units."""
    return len(text) + sum(1 for char in text if char > "\uffff") if not text.isascii() else len(text)


def whole(value: float) -> str:
    """The number rounded to an integer, such as `1,019`."""
    return f"{math.floor(value + 0.5):,}"


def counted(value: float, noun: str) -> str:
    """`1 token`, `1,019 tokens`."""
    number = whole(value)
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"


def tenths(value: float) -> str:
    """The number rounded to one decimal place, such as `1,019.5` or `3`."""
    full, rest = divmod(math.floor(value * 10 + 0.5), 10)
    return f"{full:,}.{rest}" if rest else f"{full:,}"


def duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{whole(milliseconds)} ms"
    if milliseconds < 60_000:
        return f"{tenths(milliseconds / 1000)} s"
    minutes, seconds = divmod(math.floor(milliseconds / 1000), 60)
    return f"{minutes:,} min {seconds} s"


def size_label(byte_count: float) -> str:
    if byte_count < 1000:
        return counted(byte_count, "byte")
    return f"{whole(byte_count / 1000)} kB" if byte_count < 1e6 else f"{tenths(byte_count / 1e6)} MB"


def moment(seconds: float | None) -> str:
    """Epoch seconds as `2026-11-18 11:06 UTC`; empty for None, and after the year 9999."""
    if seconds is None or seconds > LAST_SECOND:
        return ""
    return datetime.fromtimestamp(math.floor(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")
