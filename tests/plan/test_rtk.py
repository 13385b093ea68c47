"""`enableRtk`: the hook that shortens the output of tools. Node runs it, as under the Claude CLI."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON
from tests.support.plans import a_plan
from tests.support.rtk_hook import run_hook

COMMON_FIELDS = {
    "session_id": "s",
    "transcript_path": "/paperclip/.claude/projects/x/s.jsonl",
    "cwd": "/paperclip",
    "permission_mode": "bypassPermissions",
    "hook_event_name": "PostToolUse",
    "tool_use_id": "toolu_1",
}
BASH = {
    "stdout": "line\n" * 1000,
    "stderr": "",
    "interrupted": False,
    "isImage": False,
    "noOutputExpected": False,
}
READ = {
    "type": "text",
    "file": {"filePath": "/a.py", "content": "x = 1\n" * 900, "numLines": 900, "startLine": 1},
}
MCP = [{"type": "text", "text": "é漢🙂" * 400}, {"type": "image", "source": {"data": "A" * 9000}}]


@pytest.mark.parametrize(
    ("tool", "response", "key"),
    [
        ("Bash", BASH, "updatedToolOutput"),
        ("Read", READ, "updatedToolOutput"),
        ("mcp__x__y", MCP, "updatedMCPToolOutput"),
    ],
)
def test_long_output_is_cut_and_keeps_its_structure(tool: str, response: Any, key: str) -> None:
    changed = run_hook(
        {**COMMON_FIELDS, "tool_name": tool, "tool_input": {}, "tool_response": response}, 1000
    )
    assert changed is not None
    assert changed["hookEventName"] == "PostToolUse"
    output = changed[key]
    assert shape(output) == shape(response)
    assert "bytes cut]" in json.dumps(output)
    image_bytes = 9000 if response is MCP else 0  # images are not cut
    notice_bytes = 40 * len(texts(output))  # at most 40 for "[… bytes cut]" after each text
    assert sum(len(text.encode()) for text in texts(output)) <= 1000 + notice_bytes + image_bytes


@pytest.mark.parametrize("response", [BASH, READ, MCP, "short", None, 7, []])
def test_short_output_is_unchanged(response: Any) -> None:
    assert run_hook({**COMMON_FIELDS, "tool_name": "Bash", "tool_response": response}, 100_000) is None


@pytest.mark.parametrize("limit", range(1, 12))
def test_hook_does_not_split_characters(limit: int) -> None:
    changed = run_hook({**COMMON_FIELDS, "tool_name": "Bash", "tool_response": "é漢🙂é"}, limit)
    if changed is not None:
        kept = changed["updatedToolOutput"].split("\n[")[0]
        assert "é漢🙂é".startswith(kept)
        assert len(kept.encode()) <= limit
        assert f"[{len('é漢🙂é'.encode()) - len(kept.encode())} bytes cut]" in changed["updatedToolOutput"]


@pytest.mark.parametrize("payload", [b"", b"not json", b"[]", b"null", b'"x"'])
def test_invalid_payload_changes_nothing(payload: bytes) -> None:
    assert run_hook(payload, 10) is None


@given(ANY_JSON, st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_any_response_keeps_its_shape(response: Any, limit: int) -> None:
    changed = run_hook({**COMMON_FIELDS, "tool_name": "Bash", "tool_response": response}, limit)
    if changed is not None:
        assert shape(changed["updatedToolOutput"]) == shape(response)


def test_settings_file_and_option_exist_only_if_enabled() -> None:
    plan = a_plan(enableRtk=True, rtkMaxOutputBytes=1234)
    settings_file = json.loads(plan.files["settings.json"])
    (entry,) = settings_file["hooks"]["PostToolUse"]
    assert entry["hooks"][0]["command"].count("rtk-hook.cjs 1234") == 1
    assert plan.argv[plan.argv.index("--settings") + 1] == "/var/run/paperclip/run/settings.json"
    off = a_plan()
    assert "settings.json" not in off.files
    assert "--settings" not in off.argv


def shape(value: Any) -> Any:
    """The structure: True for each text, False for each number, which node may round."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return value if value is None or isinstance(value, bool) else isinstance(value, str)


def texts(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []
