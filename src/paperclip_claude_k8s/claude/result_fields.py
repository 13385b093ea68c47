"""The fields of a `result` event that are kept, with bounded sizes.

A result may hold anything that the agent makes the CLI print, or prints itself. Only fields that versions
2.1.197 to 2.1.332 of the CLI print are kept, because the host reads decisions of the adapter from the same
object, for example `executionCancellation` and `stopReason`. An impossible value becomes null; a long text
or list is cut. Examples:

    {"subtype": "success", "executionRecovery": {...}}       {"subtype": "success"}
    {"num_turns": -3, "errors": ["a", 5]}                    {"num_turns": None, "errors": ["a", 5]}
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import orjson

from paperclip_claude_k8s.base.json_readers import as_number
from paperclip_claude_k8s.base.session_ids import as_session_id
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.claude.events import MAX_COUNT, Event, as_name, believable_cost

T = TypeVar("T")
LIST_ITEMS = 100
"""Largest number of items kept of a list, and of keys kept of an object."""
FIELD_CHARS = LIMITS.result_json_bytes // 2
"""Largest number of characters kept of one field, except `result`."""
TEXT_BYTES = LIMITS.result_json_bytes // 2
"""Largest number of bytes of `result` in `resultJson`; `summary` has the whole answer."""


def known_fields(event: Event) -> dict[str, Any]:
    """The known fields of a result, with at most `Limits.answer_chars` characters of `result`."""
    given = ((key, read, event[key]) for key, read in KNOWN_FIELDS.items() if key in event)
    return {key: None if value is None else read(value) for key, read, value in given}


def fields_for_host(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for `resultJson`, from those of `known_fields`: at most `Limits.result_json_bytes` in all.

    The most important fields come first; a field that does not fit any more is left out.
    """
    fields: dict[str, Any] = {}
    room = LIMITS.result_json_bytes
    for key in (key for key in KNOWN_FIELDS if key in kept):
        value = strict_copy(kept[key])
        if key == "result" and isinstance(value, str):
            value = _cut_to_bytes(value, TEXT_BYTES)
        size = len(orjson.dumps(value)) + len(key)
        if size <= room:
            fields[key] = value
            room -= size
    return fields


def _cut_to_bytes(text: str, limit: int) -> str:
    return text[:limit].encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


# ── readers: the value to keep, or None ─────────────────────────────────────────────────────────────


def _name(value: object) -> str:
    """The name, or the type of a value that is not a string: null would look like a missing field."""
    return as_name(value) if isinstance(value, str) else f"({type(value).__name__})"


def _answer(value: object) -> str | None:
    return value[: LIMITS.answer_chars] if isinstance(value, str) else None


def _amount(value: object) -> float | None:
    number = as_number(value, None)
    return number if number is not None and 0 <= number <= MAX_COUNT else None


def _bounded(value: object) -> Any:  # noqa: ANN401  # any JSON value
    """A copy with cut texts, lists and objects, and without what is nested too deeply."""
    return _Copy(LIST_ITEMS, LIMITS.text_chars).of(value, LIMITS.result_json_depth)


def _whole(value: object) -> Any:  # noqa: ANN401  # any JSON value
    """The value if it need not be cut: a part of a structured output would be wrong."""
    copy = _Copy(FIELD_CHARS, FIELD_CHARS)
    bounded = copy.of(value, LIMITS.result_json_depth)
    return None if copy.was_cut else bounded


class _Copy:
    """Copies a JSON value up to a size of about `FIELD_CHARS`, and notes whether anything was cut."""

    def __init__(self, items: int, text_chars: int) -> None:
        self.was_cut = False
        self._items = items
        self._text_chars = text_chars
        self._room = FIELD_CHARS

    def of(self, value: object, depth: int) -> Any:  # noqa: ANN401  # any JSON value
        """The copy. `depth`: how many levels of lists and objects are copied."""
        self._room -= 8  # a rough size of quotes, commas and numbers
        if isinstance(value, str):
            return self._text(value, self._text_chars)
        if isinstance(value, Mapping):
            return {
                self._text(key, LIMITS.name_chars): self.of(inner, depth - 1)
                for key, inner in self._first(value.items(), depth)
            }
        if isinstance(value, list):
            return [self.of(inner, depth - 1) for inner in self._first(value, depth)]
        return value if value is None or isinstance(value, bool) else as_number(value, None)

    def _first(self, items: Iterable[T], depth: int) -> Iterator[T]:
        """The first items, as many as there is room for."""
        for number, item in enumerate(items):
            if depth <= 0 or number >= self._items or self._room <= 0:
                self.was_cut = True
                return
            yield item

    def _text(self, text: str, limit: int) -> str:
        kept = text[: max(min(limit, self._room), 0)]
        self._room -= len(kept)
        self.was_cut = self.was_cut or len(kept) < len(text)
        return kept


KNOWN_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "type": _name,
    "subtype": _name,
    "is_error": bool,
    "session_id": as_session_id,
    "uuid": _name,
    "total_cost_usd": believable_cost,
    "num_turns": _amount,
    "result_index": _amount,
    "duration_ms": _amount,
    "duration_api_ms": _amount,
    "ttft_ms": _amount,
    "ttft_stream_ms": _amount,
    "time_to_request_ms": _amount,
    "first_content_frame_ms": _amount,
    "queued_turn_count": _amount,
    "stop_reason": _name,
    "terminal_reason": _name,
    "api_error_status": _amount,
    "api_error": _name,
    "api_error_type": _name,
    "startup_failure_reason": _name,
    "fast_mode_state": _name,
    "fast_mode_disabled_reason": _name,
    "result": _answer,
    "usage": _bounded,
    "modelUsage": _bounded,
    "model_usage_since_last_result": _bounded,
    "structured_output": _whole,
    "errors": _bounded,
    "permission_denials": _bounded,
    "subagent_stats": _bounded,
    "safety_stops": _bounded,
    "origin": _bounded,
    "local_command": _bounded,
    "begun_message_ids": _bounded,
    "invalid_config_file": _bounded,
}
"""Known field → function that returns the value to keep, or None. The most important fields come first."""
