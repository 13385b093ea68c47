"""Entries for truncated events: the text up to the cut, or a line that describes the event."""

import json
import re

from paperclip_claude_k8s.claude.ui.stdout_lines import Piece
from paperclip_claude_k8s.claude.ui.values import Entry, counted, utf16_length

REST_MISSING_NOTE = "\n[the rest of this line is missing]"

# A possessive `*+` keeps no state for each escape, of which a line may have millions.
_STRING_BODY = re.compile(r'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*+')

_TOOL_RESULT = re.compile(r'\{"tool_use_id":"([A-Za-z0-9_-]{1,200})","type":"tool_result","content":')
_BLOCK_STARTS = (("assistant", '[{"type":"text","text":"'), ("thinking", '[{"type":"thinking","thinking":"'))


def piece_entries(piece: Piece) -> list[Entry]:
    """The text up to the cut, with a note; else one line with the type and length of the piece.

    A truncated `result` becomes one line as well, because the message before it showed its text.
    """
    if piece.type == "assistant" and (entry := _text_before_cut(piece.text)):
        return [entry]
    if piece.type == "user" and (call := _TOOL_RESULT.search(piece.text)):
        content = _content_before_cut(piece.text, call.end()) + REST_MISSING_NOTE
        return [{"kind": "tool_result", "toolUseId": call[1], "content": content, "isError": False}]
    length = counted(utf16_length(piece.text), "character")
    label = f"a broken line of type {piece.type}" if piece.type else "a piece of a broken line"
    return [{"kind": "system", "text": f"{label} ({length})"}]


def _text_before_cut(line: str) -> Entry | None:
    """The entry of a message whose first block is a text or thinking block; None for any other message."""
    content = line.find('"content":[')
    for kind, opening in _BLOCK_STARTS:
        start = content + len('"content":')
        if content >= 0 and line.startswith(opening, start):
            text = _string_body(line, start + len(opening))
            return {"kind": kind, "text": text + REST_MISSING_NOTE} if text else None
    return None


def _content_before_cut(line: str, start: int) -> str:
    """The output of a tool up to the cut, from a string or the first text block of a list; else empty."""
    for opening in ('"', _BLOCK_STARTS[0][1]):
        if line.startswith(opening, start):
            return _string_body(line, start + len(opening))
    return ""


def _string_body(line: str, start: int) -> str:
    """The text of a JSON string, from `start` up to the end of the string or of the line."""
    body = _STRING_BODY.match(line, start)
    return str(json.loads(f'"{body[0]}"')) if body else ""
