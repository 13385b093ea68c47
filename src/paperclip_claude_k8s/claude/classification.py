"""Classifies a failed result: by its machine-readable fields first, by the CLI's own texts last.

Messages of the model and outputs of tools are never examined, because an agent may well quote an error
message. The texts of the CLI are listed in `known_texts`. This module also finds, in the CLI's text, the
address for logging in and the time at which a usage limit resets.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.failure_texts import terminal_text
from paperclip_claude_k8s.claude.known_texts import (
    RESULT_TEXTS,
    SESSION_TEXTS,
    FailureClass,
    class_in_text,
    class_of_line,
    status_in,
)
from paperclip_claude_k8s.claude.results import is_max_turns
from paperclip_claude_k8s.claude.transcript import Transcript

__all__ = [
    "ClassifiedFailure",
    "FailureClass",
    "classify",
    "find_login_url",
    "refused_session",
    "reports_unusable_session",
]


@dataclass(frozen=True, slots=True)
class ClassifiedFailure:
    """The class of a failure, with the CLI's text about it. `retry_at` is an aware UTC time."""

    failure_class: FailureClass
    text: str
    retry_at: datetime | None = None
    login_url: str | None = None


_BY_SUBTYPE = {"error_max_budget_usd": FailureClass.MAX_BUDGET}
_BY_TERMINAL_REASON = {
    "budget_exhausted": FailureClass.MAX_BUDGET,
    "prompt_too_long": FailureClass.PROMPT_TOO_LONG,
}
_IMAGE_ERROR = "image_error"
"""Terminal reason for an image that the API rejects. With status 413 the whole request was too large, mostly
because of its images."""
_BY_API_ERROR = {
    "usage_limit_reached": FailureClass.QUOTA,
    "long_context_credits_required": FailureClass.CREDIT_EXHAUSTED,
    "org_disabled_credential": FailureClass.AUTH_REQUIRED,
    "connection_failed": FailureClass.TRANSIENT,
    "max_output_tokens": FailureClass.MAX_OUTPUT,
}
"""By `api_error` of the result, a field since 2.1.332."""
_BY_STATUS = {
    401: FailureClass.AUTH_REQUIRED,
    402: FailureClass.CREDIT_EXHAUSTED,
    404: FailureClass.MODEL_NOT_FOUND,
    413: FailureClass.PROMPT_TOO_LONG,
    429: FailureClass.TRANSIENT,
}
_BY_ERROR = {
    "authentication_failed": FailureClass.AUTH_REQUIRED,
    "oauth_org_not_allowed": FailureClass.AUTH_REQUIRED,
    "billing_error": FailureClass.CREDIT_EXHAUSTED,
    "model_not_found": FailureClass.MODEL_NOT_FOUND,
    "max_output_tokens": FailureClass.MAX_OUTPUT,
    "rate_limit": FailureClass.TRANSIENT,
    "overloaded": FailureClass.TRANSIENT,
    "server_error": FailureClass.TRANSIENT,
}
"""By `error` of `assistant` events."""
MAX_URL_CHARS = 2048
_URL = re.compile(rf"https://[\w!#$%&()*+,./:;=?@\[\]~-]{{1,{MAX_URL_CHARS}}}", re.IGNORECASE | re.ASCII)
_LOGIN_WORD = re.compile("login|oauth|auth", re.IGNORECASE)
_LOGIN_HOSTS = ("claude.ai", "claude.com", "anthropic.com")
"""The only hosts at which a person is asked to log in; their subdomains count as well."""
SERVER_ERRORS = range(500, 600)
LATEST_RETRY = timedelta(days=LIMITS.retry_days)
"""A later retry time, counted from now, is reduced to this."""
MAX_RESET_EPOCH = 4_102_444_800
"""2100-01-01 in epoch seconds; later times are not reset times."""
_RESETS_AT = re.compile(
    r"resets\s+(?:(?P<month>[A-Z][a-z]{2})\s+(?P<day>\d{1,2}),?\s+(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>am|pm)\b\s*(?:\((?P<zone>[^)]+)\))?",
    re.IGNORECASE,
)
_RESET_EPOCH = re.compile(r"limit reached\|(\d{9,11})\b", re.IGNORECASE)
DEFAULT_ZONE = "UTC"
"""Assumed for a reset time without a time zone: older versions print local time; containers run in UTC."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def classify(transcript: Transcript, now: datetime, *, recorded: bool = False) -> ClassifiedFailure:
    """Classify the last result. Call it only for results that are not a success.

    `recorded`: the result was printed at an unknown time before `now`, so its retry time is not limited.
    """
    result = transcript.result or {}
    text = terminal_text(result)
    failure_class = _by_fields(result, transcript) or _by_text(text, transcript) or FailureClass.OTHER
    if failure_class in {FailureClass.TRANSIENT, FailureClass.OTHER} and _is_quota(transcript, text):
        failure_class = FailureClass.QUOTA
    retry_at = _retry_at(transcript, text, now) if failure_class is FailureClass.QUOTA else None
    if retry_at is not None and not recorded:
        retry_at = min(retry_at, now + LATEST_RETRY)
    login_url = None
    if failure_class is FailureClass.AUTH_REQUIRED:
        login_url = find_login_url(f"{text}\n{transcript.stderr_tail}")
    return ClassifiedFailure(failure_class, text, retry_at, login_url)


def reports_unusable_session(result: Mapping[str, Any]) -> bool:
    """Whether a failed result reports that its session cannot be used."""
    return class_in_text(terminal_text(result), SESSION_TEXTS) is not None


def find_login_url(text: str) -> str | None:
    """The first login address of Anthropic in the text, or None."""
    found = (url[0].rstrip(".,;:)]}'\"") for url in _URL.finditer(text))
    return next((url for url in found if _is_login_url(url)), None)


def _is_login_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return (
        bool(_LOGIN_WORD.search(url))
        and parts.username is None
        and port in {None, 443}
        and any(host == known or host.endswith(f".{known}") for known in _LOGIN_HOSTS)
    )


def refused_session(transcript: Transcript) -> str:
    """The line by which the CLI refuses the session, from stderr or plain stdout; empty if there is none.

    The CLI prints it before it calls the model: after the model's first message, such a line comes from
    another program. The line must start with a known text, because other programs write to stderr as well.
    """
    if transcript.has_content:
        return ""
    lines = (line.strip() for line in (*transcript.plain_lines, *transcript.stderr_tail.split("\n")))
    return next((line for line in lines if class_of_line(line, SESSION_TEXTS)), "")


def _by_fields(result: Mapping[str, Any], transcript: Transcript) -> FailureClass | None:
    if is_max_turns(result):
        return FailureClass.MAX_TURNS
    found = _BY_SUBTYPE.get(str(result.get("subtype"))) or _BY_TERMINAL_REASON.get(
        str(result.get("terminal_reason"))
    )
    if found is not None:
        return found
    if result.get("stop_reason") == "refusal":
        return FailureClass.REFUSAL
    return _by_api_error(result, transcript)


def _by_api_error(result: Mapping[str, Any], transcript: Transcript) -> FailureClass | None:
    """Classify by the API's response, as the CLI copied it into the result and into `assistant` events."""
    status = result.get("api_error_status")
    if result.get("terminal_reason") == _IMAGE_ERROR and status != 413:
        return FailureClass.POISONED_SESSION
    found = _BY_API_ERROR.get(str(result.get("api_error"))) or next(
        (_BY_ERROR[error] for error in reversed(transcript.assistant_errors) if error in _BY_ERROR), None
    )
    return found or (_by_status(status) if isinstance(status, int) else None)


def _by_status(status: int) -> FailureClass | None:
    return FailureClass.TRANSIENT if status in SERVER_ERRORS else _BY_STATUS.get(status)


def _by_text(text: str, transcript: Transcript) -> FailureClass | None:
    if class_in_text(text, SESSION_TEXTS) or refused_session(transcript):
        return FailureClass.SESSION_UNAVAILABLE
    found = class_in_text(text, RESULT_TEXTS)
    status = status_in(text)
    if found is None and status is not None:
        found = _by_status(status)
    return found or (FailureClass.EMPTY_REPLY if transcript.empty_reply else None)


def _is_quota(transcript: Transcript, text: str) -> bool:
    """Whether a usage limit was reached that resets later. A rejection without a reset time is throttling."""
    if class_in_text(text, RESULT_TEXTS) is FailureClass.QUOTA:
        return True
    limit = transcript.rate_limit or {}
    rejected = limit.get("status") == "rejected" and bool(limit.get("resetsAt"))
    return rejected and "rate_limit" in transcript.assistant_errors


def _retry_at(transcript: Transcript, text: str, now: datetime) -> datetime | None:
    """When the usage limit resets: from `rate_limit_info`, else from the CLI's text; None if unknown."""
    resets = (transcript.rate_limit or {}).get("resetsAt")
    if isinstance(resets, (int, float)) and 0 < resets < MAX_RESET_EPOCH:
        return datetime.fromtimestamp(resets, UTC)
    return _reset_time(text, now)


def _reset_time(text: str, now: datetime) -> datetime | None:
    """The reset time that the text names, in UTC; None if it names no time, or an unknown time zone.

    Forms: "resets 3pm (Europe/Zurich)", "resets Oct 6, 10am", "usage limit reached|1893456000" (epoch
    seconds). A time without a date is the next such time after `now`. A date is in the current year, or in
    the next year if it would otherwise be more than 180 days ago.
    """
    if epoch := _RESET_EPOCH.search(text):
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    found = _RESETS_AT.search(text)
    if found is None:
        return None
    try:
        local = now.astimezone(ZoneInfo((found["zone"] or DEFAULT_ZONE).strip()))
        hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "pm" else 0)
        resets = local.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
        if found["month"]:
            resets = resets.replace(month=_MONTHS.index(found["month"].lower()) + 1, day=int(found["day"]))
            if resets < local - timedelta(days=180):
                resets = resets.replace(year=resets.year + 1)
    except (KeyError, ValueError, OSError):
        return None
    if not found["month"] and resets <= local:
        resets += timedelta(days=1)
    return resets.astimezone(UTC)
