"""How stdout lines are rendered on a terminal, and that the agent's output cannot control the terminal."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cli_events import ANY_LINE, recorded_lines

from paperclip_claude_k8s.claude.terminal import (
    MAX_INPUT_CHARS,
    MAX_LINE_CHARS,
    MAX_LINES,
    MAX_OUTPUT_CHARS,
    format_line,
)

COLOUR = re.compile(r"\x1b\[(?:2|3[126])m|\x1b\[0m")
"""The only escape sequences that the renderer writes."""
CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that control a terminal, except for the tab."""


def plain(line: str) -> list[str]:
    return format_line(line, colour=False)


def line_of(kind: str, *blocks: Any, **fields: Any) -> str:
    return json.dumps({"type": kind, "message": {"content": list(blocks)}, **fields})


def assistant_line(text: str) -> str:
    return line_of("assistant", {"type": "text", "text": text})


def tool_call_line(given: Any, name: str = "Bash") -> str:
    return line_of("assistant", {"type": "tool_use", "id": "t", "name": name, "input": given})


def tool_result_line(content: Any, **fields: Any) -> str:
    return line_of("user", {"type": "tool_result", "tool_use_id": "t", "content": content, **fields})


RESULT = {
    "type": "result",
    "subtype": "success",
    "result": "Done.",
    "total_cost_usd": 0.0123,
    "usage": {"input_tokens": 3412, "output_tokens": 17},
}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"type":"system","subtype":"init","model":"m","session_id":"s"}', ["session s · m"]),
        ('{"type":"system","subtype":"status","status":"compacting"}', ["· compacting the conversation"]),
        ('{"type":"system","subtype":"thinking_tokens"}', []),
        (assistant_line("One.\nTwo.\n"), ["One.", "Two."]),
        (line_of("assistant", {"type": "thinking", "thinking": "Hm."}), ["Hm."]),
        (line_of("user", {"type": "text", "text": "Go\non."}), ["» Go", "  on."]),
        (tool_call_line({"command": "ls\n-l", "timeout": 5}), ["→ Bash command=ls -l, timeout=5"]),
        (tool_call_line({}), ["→ Bash"]),
        (tool_call_line(["a", 1]), ['→ Bash ["a", 1]']),
        (tool_result_line("a\nb"), ["← a b"]),
        (tool_result_line(""), ["← (no output)"]),
        (line_of("assistant", {"type": "text", "text": "x"}, error="rate_limit"), [
            "x",
            "! Claude Code reports an error (rate_limit)",
        ]),
        (json.dumps(RESULT), ["done · 3,412 tokens in, 17 out · $0.0123"]),
        (json.dumps({**RESULT, "is_error": True, "result": "API Error: 529"}), [
            "failed: API Error: 529 · 3,412 tokens in, 17 out · $0.0123",
        ]),
        (json.dumps({**RESULT, "subtype": "error_max_turns", "result": None, "errors": ["a", "b"]}), [
            "failed (error_max_turns): a; b · 3,412 tokens in, 17 out · $0.0123",
        ]),
        ("plain text", ["plain text"]),
        ("[paperclip] keepalive", ["· [paperclip] keepalive"]),
        ("", []),
    ],
)  # fmt: skip
def test_line_is_rendered_readably(line: str, shown: list[str]) -> None:
    assert plain(line) == shown


def test_colour_does_not_change_the_text() -> None:
    for _, line in recorded_lines():
        painted = format_line(line, colour=True)
        assert [COLOUR.sub("", shown) for shown in painted] == plain(line)


def test_failures_are_red_and_results_green() -> None:
    assert format_line(tool_result_line("no", is_error=True), colour=True) == ["\x1b[31m← no\x1b[0m"]
    assert format_line(json.dumps(RESULT), colour=True)[0].startswith("\x1b[32mdone")
    assert format_line(json.dumps({**RESULT, "is_error": True}), colour=True)[0].startswith("\x1b[31mfailed")
    assert format_line(assistant_line("as it is"), colour=True) == ["as it is"]


def test_deltas_are_not_shown() -> None:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}}
    assert plain(json.dumps({"type": "stream_event", "event": delta})) == []


def test_long_contents_are_shortened() -> None:
    [shown] = plain(tool_call_line({"command": "x" * 10_000, "more": "y"}))
    assert len(shown) == len("→ Bash ") + MAX_INPUT_CHARS
    assert shown.endswith("…")
    [output] = plain(tool_result_line("word " * 100_000))
    assert len(output) <= len("← ") + MAX_OUTPUT_CHARS
    assert output.endswith("…")
    lines = plain(assistant_line("line\n" * 100))
    assert lines == ["line"] * MAX_LINES + [f"… {100 - MAX_LINES} more lines"]
    assert len(plain(assistant_line("x" * 5000))[0]) == MAX_LINE_CHARS


@pytest.mark.parametrize(
    "attack",
    [
        "\x1b]0;title\x07",  # sets the window title
        "\x1b[2J\x1b[H",  # clears the screen
        "\x1bP+q544e\x1b\\",  # makes the terminal write its reply to stdin
        "\x9b31m",  # a colour sequence with an 8-bit start
        "\x1b]52;c;ZWNobyBoaQ==\x07",  # sets the clipboard
        "harmless\rrm -rf /",
        "a\x08b\x7fc\x0cd",
        "\u202egnp.exe",
        "\U000e0041hidden",
    ],
)
@pytest.mark.parametrize("colour", [True, False])
def test_control_sequences_are_neutralised(attack: str, *, colour: bool) -> None:
    lines = [
        attack,
        f"[paperclip] {attack}",
        assistant_line(attack),
        line_of("assistant", {"type": "thinking", "thinking": attack}),
        tool_call_line({attack: attack}, name=f"n{attack}"),
        tool_call_line({"nested": [attack]}),
        tool_result_line(attack),
        json.dumps({**RESULT, "is_error": True, "result": attack, "subtype": attack, "errors": [attack]}),
        json.dumps({"type": "system", "subtype": "init", "model": attack, "session_id": attack}),
        json.dumps({"type": attack, "subtype": attack, "text": attack}),
    ]
    for line in lines:
        for shown in format_line(line, colour=colour):
            assert CONTROL.search(COLOUR.sub("", shown)) is None
            assert "\U000e0041" not in shown


@given(ANY_LINE, st.booleans())
def test_any_line_is_rendered_without_control_characters(line: str, colour: bool) -> None:  # noqa: FBT001  # drawn
    for shown in format_line(line, colour=colour):
        assert CONTROL.search(COLOUR.sub("", shown)) is None
        shown.encode()


def test_recorded_runs_are_rendered_in_short_lines_without_json() -> None:
    for name, line in recorded_lines():
        for shown in plain(line):
            assert len(shown) <= MAX_LINE_CHARS + 200, name
            assert '"session_id"' not in shown, name
