"""The formats of what a command prints on stdout: one option for all commands.

People at a terminal get text and tables, programs one object as JSON or YAML. Without `-o`, a terminal gets
text and any other stdout gets JSON. What a command reports as an error is one line on stderr in every format.
"""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.base.text import neutral


class Format(StrEnum):
    """How the reply of a command is printed."""

    TEXT = "text"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_for_programs(self) -> bool:
        """The whole reply is printed, also if it reports an error."""
        return self in {Format.JSON, Format.YAML}


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # it was closed
        return False


def chosen_format(given: Format | None) -> Format:
    """The format that `-o` names; without it text for a terminal and JSON for anything else."""
    return given or (Format.TEXT if is_terminal() else Format.JSON)


def serialized(reply: Mapping[str, Any], output: Format) -> bytes:
    """The reply as JSON or YAML, without a newline at its end."""
    content = strict_json(reply, indent=2)
    if output is not Format.YAML:
        return content
    import yaml  # noqa: PLC0415  # help has to be fast

    text = content.decode()
    has_escapes = "\\u" in text  # characters that control a terminal, which YAML then escapes as well
    written: str = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=not has_escapes, width=100)
    return written.rstrip("\n").encode()


def error_line(reply: Mapping[str, Any]) -> str:
    """One line that says what failed: the code, which `claude-k8s explain` knows, and the reason."""
    code = reply.get("error_code") or reply.get("error")
    detail = " ".join(str(reply.get("detail") or "").split())
    return neutral(f"error: {code}: {detail}" if detail else f"error: {code}")


def plain_text(reply: Mapping[str, Any]) -> str:
    """A reply whose command has no text of its own: its fields, nested ones indented as in YAML."""
    return neutral(serialized(reply, Format.YAML).decode())
