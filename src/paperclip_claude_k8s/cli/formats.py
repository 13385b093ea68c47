"""The formats in which commands print their replies on stdout, chosen by the option `-o`.

Text and tables are for people at a terminal, one object as JSON or YAML is for programs. Without `-o`, a
terminal gets text and any other stdout gets JSON. In every format, an error is also one line on stderr.
"""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.base.text import neutral


class Format(StrEnum):
    """How the reply of a command is printed. wide: text with more columns. name: only the ids or names."""

    TEXT = "text"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_for_programs(self) -> bool:
        """Whether programs read it: then the whole reply is printed, even if it reports an error."""
        return self in {Format.JSON, Format.YAML}


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # stdout was closed
        return False


def chosen_format(given: Format | None) -> Format:
    """The format that `-o` names. Without `-o`: text for a terminal, and JSON for anything else."""
    return given or (Format.TEXT if is_terminal() else Format.JSON)


def serialized(reply: Mapping[str, Any], output: Format) -> bytes:
    """The reply as JSON or YAML, without a newline at its end."""
    content = strict_json(reply, indent=2)
    if output is not Format.YAML:
        return content
    import yaml  # noqa: PLC0415  # help has to be fast

    text = content.decode()
    has_escapes = "\\u" in text  # of characters that control a terminal: the YAML must escape them as well
    written: str = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=not has_escapes, width=100)
    return written.rstrip("\n").encode()


def error_line(reply: Mapping[str, Any]) -> str:
    """The reply's error as one line: the code, which `claude-k8s explain` describes, and the reason."""
    code = reply.get("error_code") or reply.get("error")
    detail = " ".join(str(reply.get("detail") or "").split())
    return neutral(f"error: {code}: {detail}" if detail else f"error: {code}")


def plain_text(reply: Mapping[str, Any]) -> str:
    """The text of a reply whose command has no text format of its own: the reply as YAML."""
    return neutral(serialized(reply, Format.YAML).decode())
