"""How much of a subscription's limits is used: replies in the shape that the host's quota page expects.

The page shows a bar for each window: a limit, how much of it is used, and when it is reset.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import orjson

from paperclip_claude_k8s.base.json_readers import as_number, as_object, as_trimmed
from paperclip_claude_k8s.base.times import format_time, parse_time
from paperclip_claude_k8s.host.context import JsonMap

USAGE_PATH = "/api/oauth/usage"
USAGE_HEADERS: Mapping[str, str] = {"anthropic-beta": "oauth-2025-04-20"}
"""Without this header the API rejects the token of a subscription."""

_PROVIDER = "anthropic"
_SHARED_LIMITS = {"five_hour": "Current session (5 hours)", "seven_day": "Current week (all models)"}
"""Limits that all models share: key in the usage API's response → label."""
_MODEL_LIMIT_PREFIX = "seven_day_"
"""Keys of weekly limits for one model begin with this, for example `seven_day_opus`."""
_NO_LOGIN = (
    "no Claude login on the host's machine: set CLAUDE_CODE_OAUTH_TOKEN, or log in with `claude` as the "
    "host's user; API keys have no such limits"
)


def oauth_token(credentials: str) -> str | None:
    """Return the access token in `credentials`, the text of the CLI's `.credentials.json`, if it has one."""
    try:
        content = orjson.loads(credentials)
    except orjson.JSONDecodeError:
        return None
    login = as_object(as_object(content).get("claudeAiOauth"))
    return as_trimmed(login.get("accessToken"))


def no_limits_reply(source: str) -> JsonMap:
    """Return the reply for a provider that bills by use and has no limits."""
    return {"provider": _PROVIDER, "ok": True, "windows": [], "source": source}


def no_login_reply() -> JsonMap:
    """Return the reply for a machine without a Claude login."""
    return {"provider": _PROVIDER, "ok": False, "windows": [], "error": _NO_LOGIN}


def failed_request_reply(reason: str, *, retryable: bool) -> JsonMap:
    """Return the reply for a failed request; `retryable`: whether a later request may succeed."""
    family = {"errorFamily": "transient_upstream"} if retryable else {}
    return {"provider": _PROVIDER, "ok": False, "windows": [], "error": reason, **family}


def quota_reply(body: object) -> JsonMap:
    """Return the reply for a response of the usage API. Unknown and malformed limits in it are left out."""
    usage = as_object(body)
    windows = [*_shared_windows(usage), *_model_windows(usage), *_extra_usage_window(usage)]
    if not windows:
        return failed_request_reply("the response of the usage API contains no limit", retryable=False)
    return {"provider": _PROVIDER, "ok": True, "windows": windows, "source": "anthropic-oauth"}


def _shared_windows(usage: JsonMap) -> Iterator[JsonMap]:
    for name, label in _SHARED_LIMITS.items():
        if bucket := as_object(usage.get(name)):
            yield _window(label, bucket)


def _model_windows(usage: JsonMap) -> Iterator[JsonMap]:
    for name, given in usage.items():
        if name.startswith(_MODEL_LIMIT_PREFIX) and (bucket := as_object(given)):
            model = name.removeprefix(_MODEL_LIMIT_PREFIX).replace("_", " ").strip().capitalize()
            yield _window(f"Current week ({model} only)", bucket)


def _extra_usage_window(usage: JsonMap) -> Iterator[JsonMap]:
    extra = as_object(usage.get("extra_usage"))
    if not extra:
        return
    if extra.get("is_enabled") is not True:
        yield _window("Extra usage", {}) | {"valueLabel": "not enabled"}
        return
    used, limit = as_number(extra.get("used_credits"), None), as_number(extra.get("monthly_limit"), None)
    spent = None if used is None else _money(used, extra)
    label = spent if spent is None or not limit else f"{spent} of {_money(limit, extra)}"
    yield _window("Extra usage", extra) | {"valueLabel": label, "detail": "this month"}


def _window(label: str, bucket: JsonMap) -> JsonMap:
    """Return one window: label, used percent (0-100 or null) and time of the reset.

    `bucket` describes the limit as the API does.
    """
    used = as_number(bucket.get("utilization"), None)
    percent = None if used is None else round(min(max(used, 0.0), 100.0))
    return {
        "label": label,
        "usedPercent": percent,
        "resetsAt": _iso_time(bucket.get("resets_at")),
        "valueLabel": None,
    }


def _money(cents: float, extra: JsonMap) -> str:
    currency = extra.get("currency")
    return f"{cents / 100:.2f} {currency.upper() if isinstance(currency, str) and currency else 'USD'}"


def _iso_time(value: object) -> str | None:
    """Return a time, given as ISO 8601 text or as seconds since 1970, as ISO 8601 in UTC; else None."""
    try:
        if isinstance(value, str):
            time = parse_time(value)
            return None if time is None else format_time(time.astimezone(UTC))
        seconds = as_number(value, None)
        return None if seconds is None else format_time(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None
