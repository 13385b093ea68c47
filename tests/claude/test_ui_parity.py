"""Parity: the parsers in Python and in JavaScript give the same entries for every line, and never fail."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.cli_events import ANY_LINE, recorded_lines
from tests.support.ui_parser import TIMESTAMP, as_json, parsed_by_javascript

from paperclip_claude_k8s.claude import ui
from paperclip_claude_k8s.claude.ui import parse_stdout_line, ui_parser_source
from paperclip_claude_k8s.claude.ui.table import TABLE

FIELDS_OF_KIND: dict[str, dict[str, type | tuple[type, ...]]] = {
    "assistant": {"text": str},
    "thinking": {"text": str},
    "user": {"text": str},
    "system": {"text": str},
    "stderr": {"text": str},
    "stdout": {"text": str},
    "tool_call": {"name": str},
    "diff": {"changeType": str, "text": str},
    "tool_result": {"toolUseId": str, "content": str, "isError": bool},
    "init": {"model": str, "sessionId": str},
    "result": {
        "text": str,
        "inputTokens": int,
        "outputTokens": int,
        "cachedTokens": int,
        "costUsd": (int, float),
        "subtype": str,
        "isError": bool,
        "errors": list,
    },
}
OPTIONAL_FIELDS = {"toolUseId": str, "toolName": str, "delta": bool, "parentToolUseId": str}


def parsed(line: str) -> list[dict[str, Any]]:
    return parse_stdout_line(line, TIMESTAMP)


def assert_well_formed(entry: dict[str, Any]) -> None:
    required = FIELDS_OF_KIND[entry["kind"]]
    assert entry["ts"] == TIMESTAMP
    for field, kind in required.items():
        assert isinstance(entry[field], kind), field
    optional = set(entry) - set(required) - {"kind", "ts", "input"}
    for field in optional:
        assert isinstance(entry[field], OPTIONAL_FIELDS[field]), field
    json.dumps(entry, allow_nan=False)


def test_recorded_lines_have_parity() -> None:
    lines = [line for _, line in recorded_lines()]
    for line, theirs in zip(lines, parsed_by_javascript(lines), strict=True):
        assert as_json(parsed(line)) == theirs


def test_truncated_recorded_lines_have_parity() -> None:
    """A line may be cut anywhere if the CLI is killed, or if the host shortens a chunk."""
    lines = [line for _, line in recorded_lines() if len(line) < 100_000]
    cut = [line[: len(line) * part // 12] for line in lines for part in range(1, 12)]
    cut += [line[len(line) * part // 12 :] for line in lines for part in range(1, 12)]
    for line, theirs in zip(cut, parsed_by_javascript(cut), strict=True):
        ours = parsed(line)
        assert as_json(ours) == theirs
        if '"uuid"' in line:  # a piece of an event, of which no JSON is shown
            assert all('"session_id"' not in str(entry.get("text")) for entry in ours)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANY_LINE, max_size=60))
def test_any_line_has_parity(lines: list[str]) -> None:
    for line, theirs in zip(lines, parsed_by_javascript(lines), strict=True):
        assert as_json(parsed(line)) == theirs


@given(ANY_LINE)
def test_any_line_has_well_formed_entries(line: str) -> None:
    for entry in parsed(line):
        assert_well_formed(entry)


def test_every_recorded_line_has_well_formed_entries() -> None:
    for _, line in recorded_lines():
        for entry in parsed(line):
            assert_well_formed(entry)


def test_no_entry_of_a_recorded_run_contains_an_event_as_json() -> None:
    for name, line in recorded_lines():
        for entry in parsed(line):
            texts = [value for value in entry.values() if isinstance(value, str)]
            assert not any(text.lstrip().startswith('{"type":') for text in texts), name
            assert line not in texts or not line.startswith("{"), name


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"x","a":' + "[" * 100_000,
        '{"type":"x","a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type":"x","a":' + "[" * 198 + "]" * 198 + "}",
        '{"type":"x","a":' + "[" * 199 + "]" * 199 + "}",
        '{"type":"x","a":' + "[" * 200 + "]" * 200 + "}",
        '{"type":"tool_progress","elapsed_time_seconds":' + "9" * 5000 + "}",
        '{"type":"tool_progress","elapsed_time_seconds":1e999}',
        '{"type":"tool_progress","elapsed_time_seconds":NaN}',
        '{"type":"tool_progress","elapsed_time_seconds":-0.0,"tool_name":"\\ud83d"}',
        '{"type":"tool_progress","tool_name":"' + "\ud83d\\ude00" * 300 + '"}',
        '{"type":"tool_progress","tool_name":"' + "😀" * 201 + '"}',
        '{"type":"tool_progress","tool_name":"' + "😀" * 200 + '"}',
        '{"type":"result","modelUsage":{"b":{"inputTokens":1.9},"1":{"inputTokens":1e15}}}',
        '{"type":"result","total_cost_usd":12345678901234567890}',
        '{"type":"rate_limit_event","rate_limit_info":{"resetsAt":253402300799,"utilization":0.285}}',
        '{"type":"rate_limit_event","rate_limit_info":{"resetsAt":253402300800,"status":"constructor"}}',
        '{"type":"prompt_suggestion","suggestion":"' + "x" * 501 + '"}',
        '{"type":"prompt_suggestion","suggestion":"' + "x" * 500 + '"}',
        '{"type":"user","parent_tool_use_id":"t","message":{"content":"x"},"task_description":"'
        + "x" * 61
        + '"}',
        '{"type":"__proto__","subtype":"toString"}',
        '{"type":"system","subtype":"__proto__","__proto__":{"text":"x"}}',
        '\ufeff{"type":"system"}',
        '  {"type":"system","subtype":"status","status":"compacting"}\t\r\n',
        '{"type":"assistant","message":{"content":[{"type":"tool_use","name":"T","input":[1e400]}]}}',
    ],
    ids=lambda line: ascii(line[:60]),  # pytest puts the id into the environment of node
)
def test_edge_cases_of_both_languages_have_parity(line: str) -> None:
    assert as_json(parsed(line)) == parsed_by_javascript([line])[0]


def test_both_languages_read_the_same_fields_of_every_event() -> None:
    """Each event of the table has one field at a time, with every name that one of the two quotes."""
    python = "".join(path.read_text(encoding="utf-8") for path in Path(ui.__file__).parent.glob("*.py"))
    names = sorted({*re.findall(r'"([A-Za-z_]+)"', python + ui_parser_source())} - {"type", "subtype"})
    events = [{"type": kind, "subtype": subtype} for kind, subtype in TABLE]
    lines = [json.dumps({**event, name: "value"}) for event in events for name in names]
    for line, theirs in zip(lines, parsed_by_javascript(lines), strict=True):
        assert as_json(parsed(line)) == theirs, line


def test_javascript_parser_uses_no_global_that_the_host_removes() -> None:
    """The host's worker removes globals such as `fetch`, and offers no imports."""
    source = ui_parser_source()
    removed = ("require(", "import ", "fetch", "globalThis", "self.", "process.", "console.", "await ")
    assert [word for word in removed if word in source] == []
    shadowed = "const fetch = undefined, URL = undefined, Buffer = undefined, process = undefined;"
    line = '{"type":"system","subtype":"status","status":"compacting"}'
    assert parsed_by_javascript([line], shadowed + source) == [as_json(parsed(line))]


def test_javascript_parser_keeps_no_state() -> None:
    lines = [line for _, line in recorded_lines() if len(line) < 10_000][:200]
    assert parsed_by_javascript([*lines, *lines])[len(lines) :] == parsed_by_javascript(lines)
