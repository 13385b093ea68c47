"""Finds the events on a line of the CLI's stdout, even if other text or further events are on the line.

A healthy line is one JSON object. Beside an event, a line may contain:

1. Terminal control: escape sequences and control characters anywhere on the line, a byte order mark before or
   after the JSON. JSON contains no raw control characters (strings escape them), so they are removed.
2. Text on one side: `[debug] done {...}` or `{...} bye`. JSON with text on both sides is a quotation in a
   sentence, and is not read as an event.
3. Further events, if a newline was lost: `{...}{...}`.

Text of a model or a tool must never be read as an event. The CLI prints such text inside JSON, as a string
with escaped quotes or as a nested object (the input of a tool call). If the line is truncated, a nested
object could look like an event. Therefore an event beside text must be the first object on its line or
follow another event directly, must not be next to what surrounds a nested object (`":`, `,`, brackets,
braces), and must have the fields that only the CLI's own events have: a top-level type, a `uuid` and the
`session_id` of the run. Examples:

    done {"type":"result","uuid":"u","session_id":"s"}       an event, if `s` is the session of the run
    "input":{"type":"result","uuid":"u","session_id":"s"}    no event: `":` shows that it is nested
"""

import json
import re
from collections.abc import Iterator

from paperclip_claude_k8s.base.json_readers import get_text
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.events import BOM, Event, read_event, read_json

TOP_LEVEL_TYPES = frozenset(
    {
        "assistant",
        "auth_status",
        "command_lifecycle",
        "rate_limit_event",
        "result",
        "stream_event",
        "system",
        "tool_progress",
        "tool_use_summary",
        "user",
    }
)
"""Types of the CLI's own events. Objects nested in them have other types, such as `text`."""

_SEQUENCE = re.compile(
    rb"\x1b(?:"
    rb"\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles, links, notifications
    rb"|[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    rb"|\[[0-?]*[ -/]*[@-~]"  # CSI: cursor, colours, clear screen, bracketed paste
    rb"|[ -/]*[0-~]"  # short sequences: save the cursor, select a character set
    rb")"
)
"""A control sequence of a terminal."""
_CONTROL_CHARACTERS = bytes(set(range(0x20)) - {ord("\t")} | {0x7F})
MAX_BOMS = 4
"""Largest number of byte order marks that are removed at each end of a line: each removal copies the line."""
_BLANK = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def events_on(line: bytes, session: str | None = None) -> Iterator[tuple[Event, bytes]]:
    """Every event on the line, with the bytes of its JSON; none for plain text and truncated events.

    `session`: the run's session id, if it is known already; an event beside text must name this session.
    """
    event = read_event(line)
    if event is not None:
        yield event, line
    else:
        yield from events_beside(line, session)


def events_beside(line: bytes, session: str | None = None) -> Iterator[tuple[Event, bytes]]:
    """As `events_on`, for a line that as a whole is not an event.

    A line longer than `Limits.control_bytes` is not searched.
    """
    if b"{" not in line or len(line) > LIMITS.control_bytes:
        return
    bare = without_control(line)
    event = read_event(bare) if bare != line else None
    if event is not None:
        yield event, bare
    elif b'"session_id"' in bare and b'"uuid"' in bare and read_json(bare) is None:
        for found, source in _beside_text(bare.decode("utf-8", "replace")):
            if _is_cli_event(found, session):
                yield found, source.encode()


def without_control(line: bytes) -> bytes:
    """The line without terminal control, and without byte order marks and blanks at its ends."""
    bare = _SEQUENCE.sub(b"", line).translate(None, _CONTROL_CHARACTERS).strip()
    for _ in range(MAX_BOMS):
        if not (bare.startswith(BOM) or bare.endswith(BOM)):
            break
        bare = bare.removeprefix(BOM).removesuffix(BOM).strip()
    return bare


def _beside_text(bare: str) -> list[tuple[Event, str]]:
    """The objects on the line; none if text surrounds them, or if they are nested in another object."""
    begin = bare.find('{"')
    found, end = _objects_from(bare, begin)
    before, after = bare[:begin].strip(), bare[end:].strip()
    if before and after:
        return []
    # `":` stands before a nested object. A line whose beginning is missing may start with the colon.
    nested = before == ":" or before.endswith((",", "[", '":')) or after.startswith((",", "}", "]"))
    return [] if nested else found


def _objects_from(bare: str, at: int) -> tuple[list[tuple[Event, str]], int]:
    """The consecutive JSON objects from this offset on, and the offset at which the last one ends."""
    found: list[tuple[Event, str]] = []
    end = at
    while bare.startswith("{", at) and len(found) < LIMITS.events_per_line:
        try:
            value, end = _DECODER.raw_decode(bare, at)
        except (ValueError, RecursionError):
            break
        found.append((value, bare[at:end]))
        blank = _BLANK.match(bare, end)
        at = blank.end() if blank else end
    return found, end


def _is_cli_event(event: Event, session: str | None) -> bool:
    event_session = get_text(event, "session_id")
    return (
        get_text(event, "type") in TOP_LEVEL_TYPES
        and bool(event_session)
        and (not session or event_session == session)
        and bool(get_text(event, "uuid"))
    )
