"""A line of the agent's stdout → what a page shows of it (HOST.md 6.5), in Python and as JavaScript."""

from functools import cache
from importlib.resources import files
from typing import Any

from paperclip_claude_k8s.claude.ui.pieces import piece_entries
from paperclip_claude_k8s.claude.ui.stdout_lines import Piece, Plain, read_line
from paperclip_claude_k8s.claude.ui.table import event_entries

__all__ = ["parse_stdout_line", "ui_parser_source"]


def parse_stdout_line(line: str, ts: str) -> list[dict[str, Any]]:
    """Transcript entries of one line: `{kind, ts, ...}` with camelCase keys; none for a line without news.

    Kinds: assistant, thinking, user, tool_call, tool_result, init, result, stderr, system, stdout. Entries of
    a sub-agent also have `parentToolUseId`. Pure per (line, ts) and total: any text has an answer.
    """
    match read_line(line):
        case Plain(text, status):
            kind = "system" if status else "stdout"
            entries = [{"kind": kind, "text": text}] if text else []
        case Piece() as piece:
            entries = piece_entries(piece)
        case event:
            entries = event_entries(event)
    return [{"kind": entry["kind"], "ts": ts, **entry} for entry in entries]


@cache
def ui_parser_source() -> str:
    """The same parser as a CommonJS script without imports, as the host evaluates it."""
    place = files("paperclip_claude_k8s.claude").joinpath("ui-parser.cjs")
    return place.read_text(encoding="utf-8")
