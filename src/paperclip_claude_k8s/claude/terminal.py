"""Transcript entries as lines for a terminal, with and without colour.

What the agent prints is not to be trusted with somebody's terminal: no control character of it gets through.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from paperclip_claude_k8s.claude.ui import parse_stdout_line

SHOWN_LINES = 12
"""Lines of one text that are shown; the rest is in the output itself."""
SHOWN = 1000
"""Characters of one such line."""
SHOWN_OUTPUT = 400
"""Characters of a tool's output, in one line."""
SHOWN_INPUT = 200
"""The same for what a tool is given."""
_COLOURS = {"dim": "2", "green": "32", "red": "31", "cyan": "36"}

_TEXTS = {
    "assistant": ("", ""),
    "stdout": ("", ""),
    "thinking": ("dim", ""),
    "user": ("dim", "» "),
    "system": ("dim", "· "),
    "stderr": ("red", "! "),
}
"""Kinds that are a text: style, and what stands before it."""

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # escape sequences begin here, in 7 bits and in 8
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # these reorder what is read
    "\u2028\u2029\ufeff\U000e0000-\U000e007f"  # line ends of some programs; unseen text
    "\ud800-\udfff]"  # cannot be written at all
)
_PICTURES = 0x2400
"""Where Unicode has visible signs for the 32 control characters."""


def format_line(line: str, *, colour: bool) -> list[str]:
    """What a person should see of one stdout line: nothing, one line or a short block."""
    shown = (told for entry in parse_stdout_line(line, "") for told in _told(entry))
    return [_painted(style, neutral(text)) if colour else neutral(text) for style, text in shown]


def neutral(text: str) -> str:
    """The text with nothing a terminal acts upon but tabs and newlines; what was there is still seen."""
    return _UNSAFE.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def _painted(style: str, text: str) -> str:
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style else text


def _told(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Style and text of each line. Parts of a text are left out: the whole text follows them."""
    match entry:
        case {"delta": True}:
            return
        case {"kind": "init", "model": model, "sessionId": session}:
            yield "dim", f"session {_flat(session, SHOWN)} · {_flat(model, SHOWN)}"
        case {"kind": "tool_call", "name": name, "input": given}:
            yield "cyan", f"→ {_flat(name, SHOWN_INPUT)} {_given(given)}".rstrip()
        case {"kind": "tool_result", "content": content, "isError": bad}:
            yield ("red" if bad else "dim"), f"← {_flat(content, SHOWN_OUTPUT) or '(no output)'}"
        case {"kind": "result"}:
            yield from _result(entry)
        case {"kind": kind, "text": text}:
            style, lead = _TEXTS[kind]
            yield from _block(style, lead, text)


def _block(style: str, lead: str, text: str) -> Iterator[tuple[str, str]]:
    """The text with its line breaks, further lines under the first."""
    lines = [line.rstrip() for line in text.strip("\r\n").split("\n")]
    for number, line in enumerate(lines[:SHOWN_LINES]):
        yield style, (lead if number == 0 else " " * len(lead)) + _clipped(line, SHOWN)
    left_out = len(lines) - SHOWN_LINES
    if left_out > 0:
        yield "dim", f"… {left_out:,} more {'line' if left_out == 1 else 'lines'}"


def _result(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How the run or a part of it ended; the answer itself stands above already."""
    tokens = f"{entry['inputTokens']:,} tokens in, {entry['outputTokens']:,} out"
    paid = f"{tokens} · ${entry['costUsd']:.4f}"
    if not entry["isError"]:
        yield "green", f"done · {paid}"
        return
    subtype = entry["subtype"]
    named = f" ({_flat(subtype, SHOWN_INPUT)})" if subtype not in {"", "success"} else ""
    why = _flat("; ".join([entry["text"], *entry["errors"]]).strip("; "), SHOWN)
    yield "red", f"failed{named}{': ' if why else ''}{why} · {paid}"


def _given(given: object) -> str:
    """A tool's input: `key=value, ...`."""
    if not isinstance(given, dict):
        return _flat(_value(given), SHOWN_INPUT)
    pairs = (f"{key}={_flat(_value(value), SHOWN_INPUT)}" for key, value in given.items())
    return _flat(", ".join(pairs), SHOWN_INPUT)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(text: str, limit: int) -> str:
    """In one line. Only so much of a megabyte is looked at as can be shown."""
    return _clipped(" ".join(text[: 4 * limit].split()), limit, cut=len(text) > 4 * limit)


def _clipped(text: str, limit: int, *, cut: bool = False) -> str:
    if len(text) > limit:
        return f"{text[: limit - 1]}…"
    return f"{text}…" if cut else text
