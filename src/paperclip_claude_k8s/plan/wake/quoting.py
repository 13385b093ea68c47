"""Other people's words inside our prompt: fenced, so that they cannot pass for ours."""

import re

from paperclip_claude_k8s.plan.templates import compact_json
from paperclip_claude_k8s.plan.tolerant_readers import as_label

_TICKS = re.compile(r"`+")
_BLANKS = re.compile(r"\s+")
_ESCAPED_CONTROL = re.compile(r'(\\["\\/nrt])|\\[bf]|\\u00[01][0-9a-f]')
_CONTROL = re.compile(r"[\x7f-\x9f]")
_LINE_CHARS = 500
_SPOKEN_KEYS = ("text", "body", "message", "prompt", "content", "markdown", "summary", "instructions")


def fence(text: str, language: str = "") -> str:
    """A code block no text can leave: its fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def fenced_json(value: object) -> str:
    """The value as JSON without control characters or tags, fenced."""
    text = _ESCAPED_CONTROL.sub(lambda match: match[1] or "", compact_json(value))
    text = _CONTROL.sub("", text).replace("<", "\\u003c").replace(">", "\\u003e")
    return fence(text, "json")


def line(value: object) -> str:
    """A value as part of one of our own lines: one line, of bearable length."""
    text = _BLANKS.sub(" ", value if isinstance(value, str) else compact_json(value)).strip()
    return text if len(text) <= _LINE_CHARS else f"{text[:_LINE_CHARS]}…"


def spoken(value: object) -> str:
    """What somebody said, fenced: a plain text, an object's text, or the whole object."""
    if isinstance(value, str):
        return fence(value)
    if isinstance(value, dict):
        said = next((text for key in _SPOKEN_KEYS if (text := as_label(value.get(key)))), None)
        if said is not None and len(value) == 1:
            return fence(said)
    return fenced_json(value)
