"""Renders lines of the agent's stdout for a terminal, with and without colour.

The agent's output is untrusted: it goes through `neutral`, so that it cannot move the cursor, set the window
title or hide text.
"""

import json
from collections.abc import Iterator
from typing import Any

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.ui import parse_stdout_line

MAX_LINES = 12
"""Lines of one text that are shown; the complete text is in the agent's stdout."""
MAX_LINE_CHARS = 1000
"""Characters of one such line that are shown."""
MAX_OUTPUT_CHARS = 400
"""Characters of a tool's output that are shown, in one line."""
MAX_INPUT_CHARS = 200
"""Characters of a tool's input that are shown, in one line."""
_COLOURS = {"dim": "2", "green": "32", "red": "31", "cyan": "36"}

_STYLE_AND_PREFIX = {
    "assistant": ("", ""),
    "stdout": ("", ""),
    "thinking": ("dim", ""),
    "user": ("dim", "» "),
    "system": ("dim", "· "),
    "stderr": ("red", "! "),
}
"""Style and prefix of each kind of entry that consists of a text."""


def format_line(line: str, *, colour: bool) -> list[str]:
    """The terminal lines for one stdout line: none, one or a short block."""
    shown = (styled for entry in parse_stdout_line(line, "") for styled in _styled_lines(entry))
    return [_painted(style, neutral(text)) if colour else neutral(text) for style, text in shown]


def _painted(style: str, text: str) -> str:
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style else text


def _styled_lines(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Style and text of each line. Deltas are left out, because the whole text follows them."""
    match entry:
        case {"delta": True}:
            return
        case {"kind": "init", "model": model, "sessionId": session}:
            yield "dim", f"session {_one_line(session, MAX_LINE_CHARS)} · {_one_line(model, MAX_LINE_CHARS)}"
        case {"kind": "tool_call", "name": name, "input": tool_input}:
            yield "cyan", f"→ {_one_line(name, MAX_INPUT_CHARS)} {_input_text(tool_input)}".rstrip()
        case {"kind": "tool_result", "content": content, "isError": is_error}:
            yield ("red" if is_error else "dim"), f"← {_one_line(content, MAX_OUTPUT_CHARS) or '(no output)'}"
        case {"kind": "result"}:
            yield from _result_lines(entry)
        case {"kind": kind, "text": text}:
            style, prefix = _STYLE_AND_PREFIX[kind]
            yield from _text_lines(style, prefix, text)


def _text_lines(style: str, prefix: str, text: str) -> Iterator[tuple[str, str]]:
    """The text with its line breaks; further lines are indented by the width of the prefix."""
    lines = [line.rstrip() for line in text.strip("\r\n").split("\n")]
    for number, line in enumerate(lines[:MAX_LINES]):
        yield style, (prefix if number == 0 else " " * len(prefix)) + _clipped(line, MAX_LINE_CHARS)
    left_out = len(lines) - MAX_LINES
    if left_out > 0:
        yield "dim", f"… {left_out:,} more {'line' if left_out == 1 else 'lines'}"


def _result_lines(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How a turn of the run ended. The text of a success was in the message before."""
    tokens = f"{entry['inputTokens']:,} tokens in, {entry['outputTokens']:,} out"
    usage = f"{tokens} · ${entry['costUsd']:.4f}"
    if not entry["isError"]:
        yield "green", f"done · {usage}"
        return
    subtype = entry["subtype"]
    label = f" ({_one_line(subtype, MAX_INPUT_CHARS)})" if subtype not in {"", "success"} else ""
    why = _one_line("; ".join([entry["text"], *entry["errors"]]).strip("; "), MAX_LINE_CHARS)
    yield "red", f"failed{label}{': ' if why else ''}{why} · {usage}"


def _input_text(tool_input: object) -> str:
    """A tool's input as `key=value, ...`."""
    if not isinstance(tool_input, dict):
        return _one_line(_value_text(tool_input), MAX_INPUT_CHARS)
    pairs = (f"{key}={_one_line(_value_text(value), MAX_INPUT_CHARS)}" for key, value in tool_input.items())
    return _one_line(", ".join(pairs), MAX_INPUT_CHARS)


def _value_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _one_line(text: str, limit: int) -> str:
    """The text in one line. Only its first `4 * limit` characters are read: a text may have megabytes."""
    return _clipped(" ".join(text[: 4 * limit].split()), limit, already_shortened=len(text) > 4 * limit)


def _clipped(text: str, limit: int, *, already_shortened: bool = False) -> str:
    """At most `limit` characters of the text; `…` at the end if any are missing."""
    if len(text) > limit:
        return f"{text[: limit - 1]}…"
    return f"{text}…" if already_shortened else text
