"""How much of a subscription is used, as the host's quota page shows it (HOST.md 2, 8)."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import orjson

from paperclip_claude_k8s.base.json_readers import as_label, as_number, as_object
from paperclip_claude_k8s.host.context import JsonMap, iso

USAGE_PATH = "/api/oauth/usage"
USAGE_HEADERS: Mapping[str, str] = {"anthropic-beta": "oauth-2025-04-20"}
"""Without it the API does not take a subscription's token at all."""

_PROVIDER = "anthropic"
_SHARED = {"five_hour": "Current session (5 hours)", "seven_day": "Current week (all models)"}
_WEEKLY = "seven_day_"
_NO_LOGIN = (
    "no Claude login was found on this host: set CLAUDE_CODE_OAUTH_TOKEN, or log in where its HOME is; "
    "API keys have no such limits"
)


def oauth_token(credentials: str) -> str | None:
    """The access token out of the CLI's `.credentials.json`; None where the text holds none."""
    try:
        found = orjson.loads(credentials)
    except orjson.JSONDecodeError:
        return None
    login = as_object(as_object(found).get("claudeAiOauth"))
    return as_label(login.get("accessToken"))


def no_limits(source: str) -> JsonMap:
    """For a provider that bills by use: there is nothing to run out of."""
    return {"provider": _PROVIDER, "ok": True, "windows": [], "source": source}


def no_login() -> JsonMap:
    return {"provider": _PROVIDER, "ok": False, "windows": [], "error": _NO_LOGIN}


def unanswered(why: str, *, retryable: bool) -> JsonMap:
    """The question was asked in vain; `retryable` tells the host that it is worth asking again."""
    family = {"errorFamily": "transient_upstream"} if retryable else {}
    return {"provider": _PROVIDER, "ok": False, "windows": [], "error": why, **family}


def answered(body: object) -> JsonMap:
    """The usage API's answer → windows. Buckets of a name nobody knows are left out, broken ones too."""
    usage = as_object(body)
    windows = [*_shared(usage), *_per_model(usage), *_extra(usage)]
    if not windows:
        return unanswered("the usage API answered without any limit", retryable=False)
    return {"provider": _PROVIDER, "ok": True, "windows": windows, "source": "anthropic-oauth"}


def _shared(usage: JsonMap) -> Iterator[JsonMap]:
    for name, label in _SHARED.items():
        if bucket := as_object(usage.get(name)):
            yield _window(label, bucket)


def _per_model(usage: JsonMap) -> Iterator[JsonMap]:
    for name, given in usage.items():
        if name.startswith(_WEEKLY) and (bucket := as_object(given)):
            model = name.removeprefix(_WEEKLY).replace("_", " ").strip().capitalize()
            yield _window(f"Current week ({model} only)", bucket)


def _extra(usage: JsonMap) -> Iterator[JsonMap]:
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
    """One bar of the page: used percent 0-100 or null, when it starts over, and a text in its place."""
    used = as_number(bucket.get("utilization"), None)
    percent = None if used is None else round(min(max(used, 0.0), 100.0))
    return {
        "label": label,
        "usedPercent": percent,
        "resetsAt": _moment(bucket.get("resets_at")),
        "valueLabel": None,
    }


def _money(cents: float, extra: JsonMap) -> str:
    currency = extra.get("currency")
    return f"{cents / 100:.2f} {currency.upper() if isinstance(currency, str) and currency else 'USD'}"


def _moment(value: object) -> str | None:
    """ISO 8601 text or seconds since 1970 → ISO 8601 in UTC."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return iso((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC))
        seconds = as_number(value, None)
        return None if seconds is None else iso(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None
