"""Recognises the beginning of an event whose end is missing.

The Claude CLI is killed while it writes, or exits before its pipe has accepted the last line. The part that
was written tells the type of the event. Most events begin with their type, but fields may have any order. In
a result of CLI 2.1.332, the type stands near the end:

    {"type":"result","subtype":"success","is_err          2.1.197
    {"duration_api_ms":127,"stop_reason":"end_tu          2.1.332

`ui-parser.cjs` has the same functions in JavaScript.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from paperclip_claude_k8s.claude.event_lines import TOP_LEVEL_TYPES

MAX_MARKS = 20_000
"""Largest number of quotes, brackets, commas, colons and escapes of a line that are read."""
MAX_WORD_CHARS = 60
"""Strings with more characters are neither a field's name nor a type."""

_MARK = re.compile(r'\\[\s\S]|["{}\[\],:]')
_TYPE = re.compile(r"[A-Za-z_]{1,40}")
_FIRST_TYPE = re.compile(r'\{"type":"([A-Za-z_]{1,40})"')
_CUT_TYPE = re.compile(r'\{"type":"[A-Za-z_]{0,40}\Z')
_STARTS = ('{"type":', '{"duration_api_ms":', '{"is_error":')
"""The first bytes of the events of all recorded versions."""
MAX_START_CHARS = max(map(len, _STARTS))
_RESULT_FIELDS = frozenset(
    {
        "api_error_status",
        "duration_api_ms",
        "modelUsage",
        "num_turns",
        "permission_denials",
        "subagent_stats",
        "terminal_reason",
        "total_cost_usd",
        "ttft_ms",
    }
)
"""Fields that only a result has."""
_FIRST_RESULT_FIELDS = frozenset({"duration_ms", "is_error", "result", "stop_reason", "usage"})
"""Fields that show a result if the line begins with one of them."""
_FIELDS_OF_ALL_EVENTS = frozenset({"parent_tool_use_id", "session_id", "uuid"})
_NAMES = {"type", "subtype", "role", *_RESULT_FIELDS, *_FIRST_RESULT_FIELDS, *_FIELDS_OF_ALL_EVENTS}
_USED_NAME = re.compile(f'"(?:{"|".join(sorted(_NAMES))})"')
"""A line without any of these names is no event. Most broken JSON of other programs has none of them."""


def torn_event(line: bytes) -> str:
    """The type of the event that begins on this line; empty if the type is unknown, or no event begins.

    Call it only for a line that is not complete JSON.
    """
    return torn_type(line.decode("latin-1")) or ""


def torn_type(text: str) -> str | None:
    """As `torn_event`, for text; empty if the type is unknown, None if no event begins."""
    if not text.startswith("{"):
        return None
    if first := _FIRST_TYPE.match(text):
        return first[1]
    if _is_cut_in_first_field(text):
        return ""
    return _type_of_fields(text) if _USED_NAME.search(text) else None


def _is_cut_in_first_field(text: str) -> bool:
    return _CUT_TYPE.match(text) is not None or (
        1 < len(text) <= MAX_START_CHARS and any(start.startswith(text) for start in _STARTS)
    )


def _type_of_fields(text: str) -> str | None:
    known = _Known()
    for level, outer, name, value in _fields(text):
        if level == 0:
            return None
        if (level, name) == (1, "type") and value is not None:
            # As the first field, any type counts, as for `_FIRST_TYPE`; after other fields, only a known one.
            return value if value in TOP_LEVEL_TYPES or (not known.names and _TYPE.fullmatch(value)) else None
        known.add(level, outer, name, value or "")
    return known.type()


@dataclass(slots=True)
class _Known:
    """What is known of an event before its type was read."""

    names: list[str] = field(default_factory=list)
    subtype: str = ""
    role: str = ""

    def add(self, level: int, outer: str, name: str, value: str) -> None:
        match level, outer, name:
            case 2, "message", "role":
                self.role = value
            case 1, _, "subtype":
                self.subtype = value
        if level == 1 and name != "type":
            self.names.append(name)

    def type(self) -> str | None:
        starts_result = self.names[:1] and self.names[0] in _FIRST_RESULT_FIELDS
        is_outcome = self.subtype == "success" or self.subtype.startswith("error_")
        if starts_result or is_outcome or not _RESULT_FIELDS.isdisjoint(self.names):
            return "result"
        if self.role in {"assistant", "user"}:
            return self.role
        return None if _FIELDS_OF_ALL_EVENTS.isdisjoint(self.names) else ""


def _fields(text: str) -> Iterator[tuple[int, str, str, str | None]]:
    """The fields of an incomplete JSON object and of objects in it: level, outer field's name, name, value.

    Each field is yielded when its name was read, with the value None, and again if its value is a string. At
    level 0, the object is complete.
    """
    names, level, word = {0: ""}, 0, ""  # names by level: the field whose value is being read
    for char, string in _marks(text):
        if char in "{[":
            level += 1
            names[level] = ""
        elif char in "}]":
            level -= 1
            if level == 0:
                yield 0, "", "", None
                return
        elif char == '"':
            word = string
            if names[level]:
                yield level, names[level - 1], names[level], word
        else:
            names[level] = word if char == ":" else ""
            if names[level]:
                yield level, names[level - 1], names[level], None


def _marks(text: str) -> Iterator[tuple[str, str]]:
    """The marks outside strings, and for each complete string a quote and its content, "" if it is long."""
    string_start = -1
    for mark in islice(_MARK.finditer(text), MAX_MARKS):
        char, at = mark[0], mark.start()
        if string_start < 0 and char == '"':
            string_start = at + 1
        elif string_start < 0:
            yield char, ""
        elif char == '"':
            yield char, text[string_start:at] if at - string_start <= MAX_WORD_CHARS else ""
            string_start = -1
