"""Questions about one `result` event."""

from collections.abc import Mapping
from typing import Any


def is_success(result: Mapping[str, Any]) -> bool:
    """No error is flagged, and the subtype does not begin with `error`.

    Gateways and older versions were seen to print another subtype than `success`, or none.
    """
    return not result.get("is_error") and not str(result.get("subtype") or "").startswith("error")


def odd_subtype(result: Mapping[str, Any]) -> str:
    """What stands where a success says `success`, for people; empty for `success` itself."""
    subtype = result.get("subtype")
    return "" if subtype == "success" else repr(subtype)[:80]


def is_max_turns(result: Mapping[str, Any]) -> bool:
    """The CLI stopped because `--max-turns` was reached; any of three fields may say so."""
    return (
        result.get("subtype") == "error_max_turns"
        or result.get("terminal_reason") == "max_turns"
        or result.get("stop_reason") == "max_turns"
    )


def answers_the_prompt(result: Mapping[str, Any]) -> bool:
    """False for a turn without turns of its own that a task notification caused.

    A resumed session prints one for a task of the run before, ahead of the prompt's own turn (EVENTS.md 5).
    """
    origin = result.get("origin")
    notified = isinstance(origin, Mapping) and origin.get("kind") == "task-notification"
    return not notified or result.get("num_turns") != 0
