"""Entries for truncated events: the text so far, or a line that describes the event."""

import json
import re

from paperclip_claude_k8s.claude.ui.stdout_lines import Piece
from paperclip_claude_k8s.claude.ui.values import Entry, counted, units

REST = "\n[the rest of this line is missing]"

_BODY = re.compile(r'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*')
_CALL = re.compile(r'\{"tool_use_id":"([A-Za-z0-9_-]{1,200})","type":"tool_result","content":')
_BLOCKS = (("assistant", '[{"type":"text","text":"'), ("thinking", '[{"type":"thinking","thinking":"'))


def piece_entries(piece: Piece) -> list[Entry]:
    """The text so far, with a note. The text of a result was in the message before it."""
    if piece.type == "assistant" and (entry := _text_so_far(piece.text)):
        return [entry]
    if piece.type == "user" and (call := _CALL.search(piece.text)):
        content = _opened(piece.text, call.end())
        return [{"kind": "tool_result", "toolUseId": call[1], "content": content + REST, "isError": False}]
    length = counted(units(piece.text), "character")
    what = f"a broken line of type {piece.type}" if piece.type else "a piece of a broken line"
    return [{"kind": "system", "text": f"{what} ({length})"}]


def _text_so_far(line: str) -> Entry | None:
    content = line.find('"content":[')
    for kind, opening in _BLOCKS:
        start = content + len('"content":')
        if content >= 0 and line.startswith(opening, start):
            text = _body(line, start + len(opening))
            return {"kind": kind, "text": text + REST} if text else None
    return None


def _opened(line: str, start: int) -> str:
    """The output of a tool: a string, or a list that begins with a text block."""
    for opening in ('"', _BLOCKS[0][1]):
        if line.startswith(opening, start):
            return _body(line, start + len(opening))
    return ""


def _body(line: str, start: int) -> str:
    """The characters of the JSON string at `start`, up to its end or the end of the line."""
    body = _BODY.match(line, start)
    return str(json.loads(f'"{body[0]}"')) if body else ""
