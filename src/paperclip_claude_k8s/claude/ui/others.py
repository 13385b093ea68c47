"""Events that are neither messages nor of type `system`.

Functions named `*_entries` return entries. The other public functions return the text of one `system` entry,
which is empty if there is nothing to show.
"""

from typing import Any

from paperclip_claude_k8s.claude.ui.values import (
    LONG_CHARS,
    Entry,
    Json,
    amount_of,
    description_of,
    duration,
    first_text,
    items_of,
    joined,
    moment,
    number_of,
    object_of,
    objects_of,
    short,
    text_of,
    whole,
)

_LIMIT_STATES = {"allowed": "within bounds", "allowed_warning": "nearly reached", "rejected": "reached"}
"""Status of a usage limit → the words that are shown."""
_DELTAS = {"text_delta": ("assistant", "text"), "thinking_delta": ("thinking", "thinking")}
"""Type of a delta → kind of its entry, and field with its text."""
_MAX_TOKENS = 1e12
"""Largest token count of one model; sums of larger numbers are not exact in JavaScript."""


def result_entries(event: Json) -> list[Entry]:
    """The result, after a note about denied tools. Its tokens are the totals up to this result.

    If it has no totals, its tokens are those of the turn.
    """
    subtype, denied = text_of(event, "subtype"), objects_of(event, "permission_denials")
    input_tokens, output_tokens, cached_tokens = _usage(event)
    result: Entry = {
        "kind": "result",
        "text": text_of(event, "result"),
        "inputTokens": input_tokens,
        "outputTokens": output_tokens,
        "cachedTokens": cached_tokens,
        "costUsd": amount_of(event, "total_cost_usd"),
        "subtype": subtype,
        "isError": event.get("is_error") is True or subtype.startswith("error"),
        "errors": [text for error in items_of(event, "errors") if (text := _error_text(error))],
    }
    if not denied:
        return [result]
    names = joined(", ", (short(text_of(denial, "tool_name")) for denial in denied))
    return [{"kind": "system", "text": short(f"denied in this run: {names}", LONG_CHARS)}, result]


def _usage(event: Json) -> tuple[int, int, int]:
    """Tokens: input with cache writes, output, cache reads."""
    models = [row for row in object_of(event, "modelUsage").values() if isinstance(row, dict)]
    if models:
        given = sum(_count(row, "inputTokens") + _count(row, "cacheCreationInputTokens") for row in models)
        output = sum(_count(row, "outputTokens") for row in models)
        return given, output, sum(_count(row, "cacheReadInputTokens") for row in models)
    usage = object_of(event, "usage")
    given = _count(usage, "input_tokens") + _count(usage, "cache_creation_input_tokens")
    return given, _count(usage, "output_tokens"), _count(usage, "cache_read_input_tokens")


def _count(given: Json, key: str) -> int:
    return int(min(amount_of(given, key), _MAX_TOKENS))


def _error_text(error: Any) -> str:  # noqa: ANN401  # a string, or an object in some versions
    if isinstance(error, dict):
        return first_text(error, "message", "error", "code")
    return error if isinstance(error, str) else ""


def stream_entries(event: Json) -> list[Entry]:
    """Parts of texts while the model writes them (`--include-partial-messages`); none of a sub-agent."""
    inner = object_of(event, "event")
    if text_of(event, "parent_tool_use_id"):
        return []
    if text_of(inner, "type") == "error":
        return [
            {"kind": "stderr", "text": joined(": ", ("API error", description_of(object_of(inner, "error"))))}
        ]
    delta = object_of(inner, "delta")
    kind, field = _DELTAS.get(text_of(delta, "type"), ("", ""))
    text = text_of(delta, field)
    return [{"kind": kind, "text": text, "delta": True}] if text else []


def streamlined_entries(event: Json) -> list[Entry]:
    text = text_of(event, "text")
    return [{"kind": "assistant", "text": text}] if text else []


def auth_entries(event: Json) -> list[Entry]:
    error = first_text(event, "error")
    if error:
        return [{"kind": "stderr", "text": f"signing in failed: {error}"}]
    detail = joined(" ", (line for line in items_of(event, "output") if isinstance(line, str)))
    state = "signing in" if event.get("isAuthenticating") is True else "signed in"
    return [{"kind": "system", "text": joined(": ", (state, short(detail, LONG_CHARS)))}]


def rate_limit(event: Json) -> str:
    info = object_of(event, "rate_limit_info")
    status, used = text_of(info, "status"), number_of(info, "utilization")
    name = joined(" ", ("rate limit", short(text_of(info, "rateLimitType")).replace("_", " ")))
    resets, overage = moment(number_of(info, "resetsAt")), short(text_of(info, "overageStatus"))
    facts = (
        _LIMIT_STATES.get(status) or short(status) or "status unknown",
        "" if used is None else f"{whole(min(used, 1e6) * 100)} % used",
        f"resets {resets}" if resets else "",
        f"overage {overage}" if overage else "",
        "using overage" if info.get("isUsingOverage") is True else "",
        short(first_text(info, "overageDisabledReason", "errorCode")),
    )
    return f"{name}: {joined(', ', facts)}"


def tool_progress(event: Json) -> str:
    seconds = number_of(event, "elapsed_time_seconds")
    since = "" if seconds is None else f"for {duration(min(seconds, 1e12) * 1000)}"
    return joined(" ", (short(text_of(event, "tool_name")) or "a tool", "has been running", since))


def suggestion(event: Json) -> str:
    detail = short(text_of(event, "suggestion"), LONG_CHARS)
    return f"suggested next prompt: {detail}" if detail else ""


def conversation_reset(_event: Json) -> str:
    return "the conversation was reset"


def control_request(event: Json) -> str:
    request = object_of(event, "request")
    request_label = (short(text_of(request, "subtype")), short(text_of(request, "tool_name")))
    return joined(": ", ("Claude Code asks its caller", joined(" ", request_label)))


def command_lifecycle(event: Json) -> str:
    state = short(first_text(event, "state", "status", "phase"))
    return f"queued message: {state}" if state else ""


def refusal_continuation(event: Json) -> str:
    return joined(
        ": ", ("the conversation continues after a refusal", short(description_of(event), LONG_CHARS))
    )
