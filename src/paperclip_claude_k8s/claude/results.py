"""Predicates on one `result` event."""

from collections.abc import Mapping
from typing import Any


def is_success(result: Mapping[str, Any]) -> bool:
    """Whether no error is flagged and the subtype does not start with `error`.

    Gateways and older versions print a subtype other than `success`, or none, for successful runs.
    """
    return not result.get("is_error") and not str(result.get("subtype") or "").startswith("error")


def unexpected_subtype(result: Mapping[str, Any]) -> str:
    """The subtype, quoted for a message (`None` if it is missing); empty if it is `success`."""
    subtype = result.get("subtype")
    return "" if subtype == "success" else repr(subtype)[:80]


def is_max_turns(result: Mapping[str, Any]) -> bool:
    """Whether the CLI stopped because of `--max-turns`; its version decides which field says so."""
    return (
        result.get("subtype") == "error_max_turns"
        or result.get("terminal_reason") == "max_turns"
        or result.get("stop_reason") == "max_turns"
    )


def answers_the_prompt(result: Mapping[str, Any]) -> bool:
    """False for a result that only reports the end of a task, for which the model was not called.

    A resumed session can print such a result for a task of the previous run, before it answers this run's
    prompt.
    """
    origin = result.get("origin")
    notified = isinstance(origin, Mapping) and origin.get("kind") == "task-notification"
    return not notified or result.get("num_turns") != 0
