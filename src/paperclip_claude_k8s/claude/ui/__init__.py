"""Turns a line of the agent's stdout into transcript entries for the host's web page.

The host's page evaluates `ui-parser.cjs`; this package is the same parser in Python.
`tests/claude/test_ui_parity.py` checks that both return the same entries. The modules correspond to the
sections of the script.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from paperclip_claude_k8s.claude.ui.messages import with_agent_name
from paperclip_claude_k8s.claude.ui.pieces import piece_entries
from paperclip_claude_k8s.claude.ui.stdout_lines import Piece, Plain, read_line
from paperclip_claude_k8s.claude.ui.table import event_entries
from paperclip_claude_k8s.claude.ui.values import Entry, Json

__all__ = ["entries_of", "parse_stdout_line", "ui_parser_source"]


def parse_stdout_line(line: str, ts: str) -> list[dict[str, Any]]:
    """Transcript entries of one line: `{kind, ts, ...}` with camelCase keys; none if nothing is shown.

    `ts`: the time of the line, which each entry repeats.

    Kinds: assistant, thinking, user, tool_call, diff, tool_result, init, result, stderr, system, stdout.
    Entries of a sub-agent also have `parentToolUseId`. The entries depend on the arguments only. No line
    raises.
    """
    entries = entries_of(read_line(line))
    return [{"kind": entry["kind"], "ts": ts, **with_agent_name(entry)} for entry in entries]


def entries_of(given: Json | Piece | Plain) -> list[Entry]:
    """The entries of a classified line, without `ts`. Those of sub-agents have the key `SUB_AGENT`."""
    match given:
        case Plain(text, status):
            kind = "system" if status else "stdout"
            return [{"kind": kind, "text": text}] if text else []
        case Piece() as piece:
            return piece_entries(piece)
        case event:
            return event_entries(event)


@cache
def ui_parser_source() -> str:
    """The parser as a CommonJS script without imports, which the host's page evaluates."""
    script = files("paperclip_claude_k8s.claude").joinpath("ui-parser.cjs")
    return script.read_text(encoding="utf-8")
