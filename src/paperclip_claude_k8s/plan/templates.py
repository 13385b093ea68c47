"""Rendering of templates and JSON for prompts, by the rules of Paperclip hosts."""

import json
import re
from collections.abc import Iterable, Mapping

from paperclip_claude_k8s.base.text import encodable

MAX_RENDERED_CHARS = 16 * 1024 * 1024
"""Longest text that a template may become: twice the text that fits in the longest context window of a model.
A template of 1 MiB can repeat a long value of the context 60,000 times."""
_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")


class RenderedTooLong(ValueError):
    """The rendered text would have more than `MAX_RENDERED_CHARS` characters."""


def render_template(template: str, values: Mapping[str, object]) -> str:
    """Replace each `{{ path.to.value }}` with its value, which is not escaped and not rendered again.

    Each value becomes text once, however often it is used.

    Raises:
        RenderedTooLong: found before the whole text is made.
    """
    parts = _PLACEHOLDER.split(template)  # text, path, text, path, ..., text
    texts: dict[str, str] = {}
    length = 0
    for index, part in enumerate(parts):
        if index % 2:
            if part not in texts:
                texts[part] = _as_text(_lookup(values, part))
            parts[index] = texts[part]
        length += len(parts[index])
        if length > MAX_RENDERED_CHARS:
            raise RenderedTooLong
    return "".join(parts)


def join_sections(sections: Iterable[object], separator: str = "\n\n") -> str:
    """The strings among `sections`, trimmed and joined; empty ones are left out."""
    trimmed = (section.strip() for section in sections if isinstance(section, str))
    return separator.join(section for section in trimmed if section)


def compact_json(value: object) -> str:
    """JSON without spaces, encodable as UTF-8; values that JSON lacks, such as dates, become text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str, skipkeys=True)
    return encodable(text)


def _lookup(value: object, path: str) -> object:
    """The value at a dotted path through objects; None if the path leads through a list or a scalar."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case Mapping() | list() | tuple():
            return compact_json(value)
        case _:
            return str(value)
