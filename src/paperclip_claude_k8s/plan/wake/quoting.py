"""Fences texts of people and agents, so that the agent does not take them for the adapter's own text.

A fence is a Markdown code block that its text cannot close: it has more backticks than any sequence of them
inside. Values within a line of the adapter are put on one line, so that they cannot begin a section.
"""

import re

from paperclip_claude_k8s.base.json_readers import as_trimmed
from paperclip_claude_k8s.plan.templates import compact_json

_TICKS = re.compile(r"`+")
_WHITESPACE = re.compile(r"\s+")
# Group 1 matches what stays. It comes first, so that the second half of `\\` begins no escape sequence.
_ESCAPED_CONTROL = re.compile(r'(\\["\\/nrt])|\\[bf]|\\u00[01][0-9a-f]')
_CONTROL = re.compile(r"[\x7f-\x9f]")
_LINE_CHARS = 500
_TEXT_KEYS = ("text", "body", "message", "prompt", "content", "markdown", "summary", "instructions")


def fence(text: str, language: str = "") -> str:
    """A code block that the text cannot leave."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def fenced_json(value: object) -> str:
    """The value as JSON without control characters or tags, fenced."""
    text = _ESCAPED_CONTROL.sub(lambda match: match[1] or "", compact_json(value))
    text = _CONTROL.sub("", text).replace("<", "\\u003c").replace(">", "\\u003e")
    return fence(text, "json")


def one_line(value: object) -> str:
    """A value as part of a line: whitespace becomes single spaces; at most 500 characters."""
    text = _WHITESPACE.sub(" ", value if isinstance(value, str) else compact_json(value)).strip()
    return text if len(text) <= _LINE_CHARS else f"{text[:_LINE_CHARS]}…"


def bullets(facts: dict[str, object]) -> str:
    """One line for each fact that has a value."""
    return "\n".join(f"- {name}: {one_line(value)}" for name, value in facts.items() if value)


def quoted(value: object) -> str:
    """The value, fenced: a text, or an object with nothing but a text, as that text; other values as JSON."""
    if isinstance(value, str):
        return fence(value)
    if isinstance(value, dict):
        text = next((text for key in _TEXT_KEYS if (text := as_trimmed(value.get(key)))), None)
        if text is not None and len(value) == 1:
            return fence(text)
    return fenced_json(value)


def quoted_section(title: str, sentence: str, value: object) -> str:
    """Title, introductory sentence and quoted value; "" if there is no value."""
    return f"{title}\n\n{sentence}\n\n{quoted(value)}" if value else ""
