"""The table of the functions that turn events into entries, by (type, subtype)."""

from collections.abc import Callable, Mapping

from paperclip_claude_k8s.claude.ui import others, system
from paperclip_claude_k8s.claude.ui.messages import assistant_entries, user_entries
from paperclip_claude_k8s.claude.ui.values import (
    Entry,
    Json,
    description_of,
    first_text,
    joined,
    short,
    text_of,
)

TYPE_CHARS = 40
"""Largest number of characters that are shown of an unknown type or subtype."""


def _one_line(describe: Callable[[Json], str]) -> Callable[[Json], list[Entry]]:
    """A function that returns a `system` entry with the text, or no entry if the text is empty."""

    def entries(event: Json) -> list[Entry]:
        text = describe(event)
        return [{"kind": "system", "text": text}] if text else []

    return entries


def _silent(_event: Json) -> list[Entry]:
    """No entries: the event is bookkeeping between the CLI and its caller."""
    return []


TABLE: Mapping[tuple[str, str | None], Callable[[Json], list[Entry]]] = {
    ("assistant", None): assistant_entries,
    ("user", None): user_entries,
    ("result", None): others.result_entries,
    ("stream_event", None): others.stream_entries,
    ("streamlined_text", None): others.streamlined_entries,
    ("auth_status", None): others.auth_entries,
    ("rate_limit_event", None): _one_line(others.rate_limit),
    ("tool_progress", None): _one_line(others.tool_progress),
    ("tool_use_summary", None): _one_line(description_of),
    ("streamlined_tool_use_summary", None): _one_line(description_of),
    ("prompt_suggestion", None): _one_line(others.suggestion),
    ("os_notification", None): _one_line(description_of),
    ("conversation_reset", None): _one_line(others.conversation_reset),
    ("refusal_continuation", None): _one_line(others.refusal_continuation),
    ("control_request", None): _one_line(others.control_request),
    ("command_lifecycle", None): _one_line(others.command_lifecycle),
    ("system", "init"): system.init_entries,
    ("system", "api_error"): system.api_error_entries,
    ("system", "session_writes_lost"): system.session_writes_lost_entries,
    **{("system", subtype): _one_line(describe) for subtype, describe in system.DESCRIBERS.items()},
    **{("system", subtype): _silent for subtype in ("thinking_tokens", "thinking", "file_snapshot")},
    **{
        (kind, None): _silent
        for kind in (
            "active_goal",
            "api_metrics",
            "attachment",
            "compact_progress",
            "control_cancel_request",
            "control_response",
            "keep_alive",
            "response_length",
            "stream_mode",
            "tombstone",
            "transcript_mirror",
        )
    },
}


"""(type, subtype) → function that returns the entries. Subtype None: every subtype that is not listed."""


def event_entries(event: Json) -> list[Entry]:
    """Entries without `ts`. An unknown event becomes one short line."""
    kind, subtype = text_of(event, "type"), text_of(event, "subtype")
    to_entries = TABLE.get((kind, subtype)) or TABLE.get((kind, None)) or _unknown
    return to_entries(event)


def _unknown(event: Json) -> list[Entry]:
    name = first_text(event, "subtype") or text_of(event, "type")
    text = joined(": ", (f"event {short(name.replace('_', ' '), TYPE_CHARS)}", short(description_of(event))))
    return [{"kind": "system", "text": text}]
