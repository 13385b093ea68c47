"""The UI parser returns the same entries as in the TypeScript adapter, or differs on purpose."""

import json
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

from paperclip_claude_k8s.claude.ui import parse_stdout_line

TIME = "2026-04-12T00:00:00.000Z"


def shown(event: dict[str, Any] | str) -> list[dict[str, Any]]:
    """The entries of a line. The time, which all of them have, is removed."""
    line = event if isinstance(event, str) else json.dumps(event)
    entries = parse_stdout_line(line, TIME)
    assert all(entry.pop("ts") == TIME for entry in entries)
    return entries


def message(kind: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "message": {"content": list(blocks)}}


def tool_output(content: Any, **fields: Any) -> dict[str, Any]:
    return message("user", {"type": "tool_result", "tool_use_id": "tool_123", "content": content, **fields})


CALL = {"type": "tool_use", "name": "Bash", "input": {"command": "ls -la"}}
CALL_ENTRY = {"kind": "tool_call", "name": "Bash", "input": {"command": "ls -la"}}
RESULT_ENTRY = {"kind": "tool_result", "toolUseId": "tool_123", "isError": False}


@pytest.mark.parametrize(
    ("event", "entries"),
    [
        ("hello world", [{"kind": "stdout", "text": "hello world"}]),
        (
            {"type": "system", "subtype": "init", "model": "claude-opus-4-6", "session_id": "sess_abc"},
            [{"kind": "init", "model": "claude-opus-4-6", "sessionId": "sess_abc"}],
        ),
        (
            message("assistant", {"type": "text", "text": "Hello there"}),
            [{"kind": "assistant", "text": "Hello there"}],
        ),
        (
            message("assistant", {"type": "thinking", "thinking": "Let me think"}),
            [{"kind": "thinking", "text": "Let me think"}],
        ),
        (message("assistant", {**CALL, "id": "tool_123"}), [{**CALL_ENTRY, "toolUseId": "tool_123"}]),
        (message("assistant", {**CALL, "tool_use_id": "tool_9"}), [{**CALL_ENTRY, "toolUseId": "tool_9"}]),
        (message("user", {"type": "text", "text": "Hello"}), [{"kind": "user", "text": "Hello"}]),
        (tool_output("one\ntwo"), [{**RESULT_ENTRY, "content": "one\ntwo"}]),
        (tool_output("no", is_error=True), [{**RESULT_ENTRY, "content": "no", "isError": True}]),
        (
            tool_output([{"type": "text", "text": "part1"}, {"type": "text", "text": "part2"}]),
            [{**RESULT_ENTRY, "content": "part1\npart2"}],
        ),
    ],
)
def test_line_has_these_entries(event: dict[str, Any] | str, entries: list[dict[str, Any]]) -> None:
    assert shown(event) == entries


def test_init_without_a_model_has_an_unknown_model() -> None:
    (entry,) = shown({"type": "system", "subtype": "init"})
    assert (entry["kind"], entry["model"]) == ("init", "unknown")


def test_result_has_text_cost_and_tokens() -> None:
    usage = {"input_tokens": 500, "output_tokens": 300, "cache_read_input_tokens": 200}
    event = {
        "type": "result",
        "subtype": "stop",
        "result": "Finished",
        "total_cost_usd": 0.0125,
        "usage": usage,
    }
    (entry,) = shown(event)
    assert (
        entry.items()
        >= {
            "kind": "result",
            "text": "Finished",
            "subtype": "stop",
            "costUsd": 0.0125,
            "inputTokens": 500,
            "outputTokens": 300,
            "cachedTokens": 200,
            "isError": False,
        }.items()
    )
    assert entry["errors"] == []


@pytest.mark.parametrize(
    ("fields", "is_error", "errors"),
    [
        ({"is_error": True, "errors": ["it broke"]}, True, ["it broke"]),
        ({"errors": ["one", "two"]}, False, ["one", "two"]),
        ({"errors": [{"message": "an object"}]}, False, ["an object"]),
    ],
)
def test_result_has_its_errors(fields: dict[str, Any], errors: list[str], *, is_error: bool) -> None:
    (entry,) = shown({"type": "result", **fields})
    assert (entry["kind"], entry["isError"], entry["errors"]) == ("result", is_error, errors)


@pytest.mark.parametrize(
    "event",
    [
        "  ",
        message("assistant", {"type": "text", "text": ""}),
        message("assistant", {"type": "thinking", "thinking": ""}),
        message("assistant"),
    ],
)
def test_event_without_content_shows_nothing(event: dict[str, Any] | str) -> None:
    assert shown(event) == []
    assert_typescript_adapter_differs("the page shows blank lines, empty events and unknown events as JSON")


def test_unknown_event_is_a_system_entry() -> None:
    (entry,) = shown({"type": "unknown", "data": "stuff"})
    assert entry["kind"] == "system"
    assert_typescript_adapter_differs("the page shows blank lines, empty events and unknown events as JSON")
