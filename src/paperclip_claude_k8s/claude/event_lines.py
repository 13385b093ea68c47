"""One line of stdout → the events on it, where something else stands beside their JSON.

A healthy line is one JSON object and needs none of this. What may stand beside an event:

1. Terminal control: escape sequences and control characters anywhere on the line, a byte order mark before or
   after the JSON. JSON holds no raw control characters (strings have them escaped), so they are taken out.
2. Words on one side: `[debug] done {...}` or `{...} bye`. Words on both sides make a sentence that quotes.
3. Further events: `{...}{...}`, where a newline was lost.

Nothing that a model or a tool said may become an event. The CLI prints it inside of JSON, as a string, where
each quote is escaped, or as a nested object, such as the input of a tool call. On a line that was torn a
nested object could pass for an event. Therefore an event among words is the first object of its line, nothing
directly beside it is what JSON has beside a nested object (`":`, `,`, brackets, braces), and it has what the
CLI gives to its own events alone: a type of the top level, a `uuid` and the `session_id` of the run.
"""

import json
import re
from collections.abc import Iterator

from paperclip_claude_k8s.claude.events import BOM, Event, read_event, read_json, text

TOP_LEVEL = frozenset(
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
"""Types that stand at the top of a line."""

_CONTROL = re.compile(
    rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles, links, notifications
    rb"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    rb"|\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: cursor, colours, clear screen, bracketed paste
    rb"|\x1b[ -/]*[0-~]"  # the short ones: save the cursor, choose a character set
    rb"|[\x00-\x08\x0a-\x1f\x7f]"  # control characters by themselves
)
_BLANK = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def events_on(line: bytes, session: str | None = None) -> Iterator[tuple[Event, bytes]]:
    """Every event on the line, with the bytes of its JSON; nothing for plain text and torn events.

    `session`: the run's session id, once it is known.
    """
    event = read_event(line)
    if event is not None:
        yield event, line
    else:
        yield from events_beside(line, session)


def events_beside(line: bytes, session: str | None = None) -> Iterator[tuple[Event, bytes]]:
    """The same for a line that is known to be no event by itself."""
    if b"{" not in line:
        return
    bare = without_control(line)
    event = read_event(bare) if bare != line else None
    if event is not None:
        yield event, bare
    elif b'"session_id"' in bare and b'"uuid"' in bare and read_json(bare) is None:
        for found, source in _among_words(bare.decode("utf-8", "replace")):
            if _is_the_clis_own(found, session):
                yield found, source.encode()


def without_control(line: bytes) -> bytes:
    """The line without what only a terminal acts upon, and without marks and blanks at its ends."""
    bare = _CONTROL.sub(b"", line).strip()
    while bare.startswith(BOM) or bare.endswith(BOM):
        bare = bare.removeprefix(BOM).removesuffix(BOM).strip()
    return bare


def _among_words(bare: str) -> list[tuple[Event, str]]:
    begin = bare.find('{"')
    found, end = _objects_from(bare, begin)
    before, after = bare[:begin].strip(), bare[end:].strip()
    if before and after:
        return []
    torn = before == ":" or before.endswith((",", "[", '":')) or after.startswith((",", "}", "]"))
    return [] if torn else found


def _objects_from(bare: str, at: int) -> tuple[list[tuple[Event, str]], int]:
    """All JSON objects that follow each other from here on, and where the last one ends."""
    found: list[tuple[Event, str]] = []
    end = at
    while bare.startswith("{", at):
        try:
            value, end = _DECODER.raw_decode(bare, at)
        except (ValueError, RecursionError):
            break
        found.append((value, bare[at:end]))
        blank = _BLANK.match(bare, end)
        at = blank.end() if blank else end
    return found, end


def _is_the_clis_own(event: Event, session: str | None) -> bool:
    named = text(event, "session_id")
    return (
        text(event, "type") in TOP_LEVEL and named in {session or named} - {""} and bool(text(event, "uuid"))
    )
