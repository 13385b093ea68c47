"""Lines like those of the Claude CLI: all recorded ones, and strategies for events with any field values."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from tests.support.captures import ALL, recorded

from paperclip_claude_k8s.claude.ui.table import TABLE


def recorded_lines() -> Iterator[tuple[str, str]]:
    """(name of the capture, line without its newline) of every non-empty line of all captures."""
    for version, name in ALL:
        for line in recorded(name, version)[0].decode("utf-8").split("\n"):
            if line:
                yield name, line


def _keys_and_texts(value: Any) -> Iterator[tuple[str, str]]:
    """("key", name) of each field in the value, and ("text", text) of each short text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield "key", key
            yield from _keys_and_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys_and_texts(inner)
    elif isinstance(value, str) and len(value) < 40:
        yield "text", value


def _vocabulary() -> tuple[list[str], list[str]]:
    """Field names and short texts of the recorded lines."""
    found: set[tuple[str, str]] = set()
    for _, line in recorded_lines():
        if len(line) < 10_000:
            try:
                found.update(_keys_and_texts(json.loads(line)))
            except ValueError:
                continue
    keys = sorted(word for kind, word in found if kind == "key")
    texts = sorted(word for kind, word in found if kind == "text")
    return keys, texts


_KEYS, _TEXTS = _vocabulary()
_MORE_KEYS = [
    *("decision_reason", "errorCode", "error_code", "file_id", "files", "failed", "isMeta", "level"),
    *("memories", "mimeType", "mode", "output", "overageStatus", "plugin_errors", "request", "state"),
    *("suggestion", "supersedes", "retracted_message_uuids", "title", "tool_name", "url", "utilization"),
    *("elapsed_time_seconds", "isAuthenticating", "permissionMode", "__proto__", "constructor", "1", "0"),
]
_MORE_TEXTS = [
    "<synthetic>",
    "mcp_tool_result",
    "document",
    "<local-command-stdout>x",
    "\ufeff",
    "\x85",
    "  ",
]
TEXTS = st.sampled_from([*_TEXTS, *_MORE_TEXTS]) | st.text(st.characters(exclude_categories=[]))
NUMBERS = (
    st.booleans() | st.integers() | st.floats() | st.integers(0, 10**6) | st.floats(0, 1e6) | st.just(10**400)
)
KEYS = st.sampled_from([*_KEYS, *_MORE_KEYS]) | TEXTS
VALUES = st.recursive(
    st.none() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=15,
)
_BLOCK = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image", "web_search_tool_result"]),
    st.dictionaries(KEYS, VALUES, max_size=5)
    | st.fixed_dictionaries({"text": TEXTS, "content": VALUES, "source": VALUES, "name": TEXTS}),
)
_MESSAGE = st.fixed_dictionaries(
    {"content": st.lists(_BLOCK, max_size=3) | VALUES, "model": st.sampled_from(["m", "<synthetic>"])}
)


def _event(types: tuple[str, str | None], message: Any, fields: dict[str, Any]) -> str:
    kind, subtype = types
    event = {"type": kind, **({} if subtype is None else {"subtype": subtype}), "message": message, **fields}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


_MESSAGES: list[tuple[str, str | None]] = [("assistant", None), ("user", None), ("result", None)]
_TYPES = [*sorted(TABLE, key=str), *_MESSAGES * 15]
"""(type, subtype) of known events. As in a run, about half of them are messages and results."""
EVENTS = st.builds(
    _event,
    # known types are twice as frequent as others
    st.sampled_from(_TYPES) | st.sampled_from(_TYPES) | st.tuples(TEXTS, TEXTS),
    _MESSAGE | VALUES,
    st.dictionaries(KEYS, VALUES, max_size=8),
)
"""Lines of events, mostly of known types. Known fields have values of any type."""

_ANY_TEXT_LINE = st.text(st.characters(exclude_categories=[]))
_ANY_JSON_LINE = VALUES.map(json.dumps)
CUT_EVENTS = st.builds(lambda line, share: line[: max(1, int(share * len(line)))], EVENTS, st.floats(0, 1))
ANY_LINE = EVENTS | EVENTS | EVENTS | CUT_EVENTS | _ANY_TEXT_LINE | _ANY_JSON_LINE
"""Any line; about half of them are whole events."""
