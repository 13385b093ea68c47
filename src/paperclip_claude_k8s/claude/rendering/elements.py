"""Builds HTML. Every text is escaped in one place: `element` escapes each child that is not `Html`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from paperclip_claude_k8s.base.text import neutral

_EMPTY_ELEMENTS = frozenset({"input", "meta", "rect"})
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")


@dataclass(frozen=True, slots=True)
class Html:
    """HTML whose texts were escaped when it was built. Other modules make an `Html` of constants only."""

    code: str


def element(tag: str, attributes: dict[str, str] | None = None, *children: str | Html) -> Html:
    """An element. Strings among its children and the values of its attributes are escaped."""
    given = (attributes or {}).items()
    opening = "".join([tag, *(f' {_checked_name(key)}="{_escaped(value)}"' for key, value in given)])
    if tag in _EMPTY_ELEMENTS:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{joined_html(children).code}</{tag}>")


def joined_html(children: Iterable[str | Html]) -> Html:
    return Html("".join(each.code if isinstance(each, Html) else _escaped(each) for each in children))


def _escaped(text: str) -> str:
    """The text as HTML. Visible characters replace those that are invisible or change the reading order."""
    return escape(neutral(text))


def _checked_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of an attribute")
    return text
