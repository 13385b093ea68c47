"""Classifies a failed result of the Claude CLI: first by machine-readable fields, then by the CLI's texts.

Messages of the model and outputs of tools are never examined, because an agent may well quote an error
message. The texts of the CLI are in `known_texts`. This module also finds, in the CLI's text, the address for
logging in and the time at which a usage limit resets; the address is searched for in stderr as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.claude.failure_fields import class_by_fields, class_of_status
from paperclip_claude_k8s.claude.failure_texts import terminal_text
from paperclip_claude_k8s.claude.known_texts import (
    FailureClass,
    class_of_text,
    kind_of_line,
    status_in,
)
from paperclip_claude_k8s.claude.reset_times import reset_time, time_of_epoch
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


NARROWER_CLASSES = {
    FailureClass.TRANSIENT: frozenset(
        {
            FailureClass.QUOTA,
            FailureClass.CREDIT_EXHAUSTED,
            FailureClass.THROTTLED,
            FailureClass.UNTRUSTED_CERTIFICATE,
            FailureClass.AUTH_REQUIRED,
        }
    ),
    FailureClass.AUTH_REQUIRED: frozenset({FailureClass.MODEL_NOT_FOUND}),
    FailureClass.MAX_OUTPUT: frozenset({FailureClass.CONTEXT_WINDOW}),
    FailureClass.REFUSAL: frozenset({FailureClass.CONTENT_FILTER}),
}
"""Class found by the fields → more specific classes to which the CLI's text may change it. Before `api_error`
existed, for example, all responses with status 429 had the error `rate_limit`."""
MAX_URL_CHARS = 2048
_URL = re.compile(rf"https://[\w!#$%&()*+,./:;=?@\[\]~-]{{1,{MAX_URL_CHARS}}}", re.IGNORECASE | re.ASCII)
_LOGIN_WORD = re.compile("login|oauth|auth", re.IGNORECASE)
_LOGIN_HOSTS = ("claude.ai", "claude.com", "anthropic.com")
"""The only hosts at which a person is asked to log in; their subdomains count as well."""
LATEST_RETRY = timedelta(days=LIMITS.retry_days)
"""A retry time further in the future is reduced to this."""


def classify(transcript: Transcript, now: datetime, *, recorded: bool = False) -> ClassifiedFailure:
    """Classify the last result. Call it only for results that are not a success.

    `recorded`: the result was printed at an unknown time before `now`, so its retry time is not limited.
    """
    result = transcript.result or {}
    text = terminal_text(result)
    failure_class = _class_of(result, text, transcript)
    retry_at = _retry_at(transcript, text, now) if failure_class is FailureClass.QUOTA else None
    if retry_at is not None and not recorded:
        retry_at = min(retry_at, now + LATEST_RETRY)
    login_url = None
    if failure_class is FailureClass.AUTH_REQUIRED:
        login_url = find_login_url(f"{text}\n{transcript.stderr_tail}")
    return ClassifiedFailure(failure_class, text, retry_at, login_url)


def reports_unusable_session(result: Mapping[str, Any]) -> bool:
    """Whether a failed result reports that its session cannot be used."""
    return _by_text(result, terminal_text(result)) is FailureClass.SESSION_UNAVAILABLE


def find_login_url(text: str) -> str | None:
    """The first login address of Anthropic in the text, or None."""
    urls = (match[0].rstrip(".,;:!?)]}'\"") for match in _URL.finditer(text))
    return next((url for url in urls if _is_login_url(url)), None)


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

    The CLI prints this line before it calls the model. After the model's first message, such a line comes
    from another program. It must start with a known text, because other programs write to stderr as well.
    """
    if transcript.has_content:
        return ""
    lines = (line.strip() for line in (*transcript.plain_lines, *transcript.stderr_tail.split("\n")))
    return next((line for line in lines if kind_of_line(line, [FailureClass.SESSION_UNAVAILABLE])), "")


def _class_of(result: Mapping[str, Any], text: str, transcript: Transcript) -> FailureClass:
    by_fields = class_by_fields(result, transcript)
    if by_fields is not None and by_fields not in NARROWER_CLASSES:
        return by_fields
    by_text = None if transcript.result_is_models_text else _by_text(result, text)
    if by_fields is None:
        failure_class = by_text or _class_without_known_text(transcript)
    else:
        failure_class = (
            by_text if by_text is not None and by_text in NARROWER_CLASSES[by_fields] else by_fields
        )
    is_vague = failure_class in {FailureClass.TRANSIENT, FailureClass.OTHER}
    return FailureClass.QUOTA if is_vague and _is_blocked(transcript) else failure_class


def _by_text(result: Mapping[str, Any], text: str) -> FailureClass | None:
    """The class by the texts of the table, then by a status in the text."""
    by_table = class_of_text(text, quoted=not get_text(result, "result").strip())
    status = status_in(text)
    return by_table or (class_of_status(status) if status is not None else None)


def _class_without_known_text(transcript: Transcript) -> FailureClass:
    """The class of a result whose fields and text name no class."""
    if refused_session(transcript):
        return FailureClass.SESSION_UNAVAILABLE
    return FailureClass.EMPTY_REPLY if transcript.empty_reply else FailureClass.OTHER


def _is_blocked(transcript: Transcript) -> bool:
    """Whether a usage limit has refused a call and blocks the agent until a known time.

    A refusal without a time means that the service throttles everybody's requests for a moment.
    """
    return transcript.blocked_until is not None and "rate_limit" in transcript.assistant_errors


def _retry_at(transcript: Transcript, text: str, now: datetime) -> datetime | None:
    """When the usage limit resets: by the fields, else by the CLI's text; None if unknown."""
    limit = get_object(get_object(transcript.last_error, "api_error_params"), "rate_limit_info")
    reported = time_of_epoch(transcript.blocked_until) or time_of_epoch(limit.get("resetsAt"))
    return reported or reset_time(text, now)
