"""What a failed result complains of: machine-readable fields first, the CLI's own words last.

What the model or a tool said is never looked at (PEERS E6); the texts are those the CLI was seen to print.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paperclip_claude_k8s.claude.failure_texts import terminal_text
from paperclip_claude_k8s.claude.known_texts import (
    RESULT_TEXTS,
    SESSION_TEXTS,
    Complaint,
    complaint_in,
    line_complaint,
    status_in,
)
from paperclip_claude_k8s.claude.reset_time import reset_time
from paperclip_claude_k8s.claude.results import is_max_turns
from paperclip_claude_k8s.claude.transcript import Transcript

__all__ = [
    "Classified",
    "Complaint",
    "classify",
    "find_login_url",
    "refused_session",
    "says_unknown_session",
]


@dataclass(frozen=True, slots=True)
class Classified:
    """A complaint, and what the CLI said with it. `retry_at` is an aware UTC time."""

    complaint: Complaint
    text: str
    retry_at: datetime | None = None
    login_url: str | None = None


_BY_SUBTYPE = {"error_max_budget_usd": Complaint.MAX_BUDGET}
_BY_TERMINAL_REASON = {
    "budget_exhausted": Complaint.MAX_BUDGET,
    "prompt_too_long": Complaint.PROMPT_TOO_LONG,
}
_IMAGE_ERROR = "image_error"
"""A terminal reason that 413 has as well: a request that is too large, mostly by its images."""
_BY_API_ERROR = {
    "usage_limit_reached": Complaint.QUOTA,
    "long_context_credits_required": Complaint.CREDIT_EXHAUSTED,
    "org_disabled_credential": Complaint.AUTH_REQUIRED,
    "connection_failed": Complaint.TRANSIENT,
    "max_output_tokens": Complaint.MAX_OUTPUT,
}
"""`result.api_error`, since 2.1.332."""
_BY_STATUS = {
    401: Complaint.AUTH_REQUIRED,
    402: Complaint.CREDIT_EXHAUSTED,
    404: Complaint.MODEL_NOT_FOUND,
    413: Complaint.PROMPT_TOO_LONG,
    429: Complaint.TRANSIENT,
}
_BY_ERROR = {
    "authentication_failed": Complaint.AUTH_REQUIRED,
    "oauth_org_not_allowed": Complaint.AUTH_REQUIRED,
    "billing_error": Complaint.CREDIT_EXHAUSTED,
    "model_not_found": Complaint.MODEL_NOT_FOUND,
    "max_output_tokens": Complaint.MAX_OUTPUT,
    "rate_limit": Complaint.TRANSIENT,
    "overloaded": Complaint.TRANSIENT,
    "server_error": Complaint.TRANSIENT,
}
_LOGIN_URL = re.compile(r"https://\S*(?:login|oauth|auth)\S*", re.IGNORECASE)
SERVER_ERRORS = range(500, 600)
FAR_FUTURE = 4_102_444_800
"""2100-01-01 in epoch seconds: what lies beyond is no time of a reset."""


def classify(told: Transcript, now: datetime) -> Classified:
    """What the last result complains of; call it for results that are no success."""
    result = told.result or {}
    text = terminal_text(result)
    complaint = _by_fields(result, told) or _by_text(text, told) or Complaint.OTHER
    if complaint in {Complaint.TRANSIENT, Complaint.OTHER} and _is_quota(told, text):
        complaint = Complaint.QUOTA
    retry_at = _retry_at(told, text, now) if complaint is Complaint.QUOTA else None
    found = find_login_url(f"{text}\n{told.stderr_tail}") if complaint is Complaint.AUTH_REQUIRED else None
    return Classified(complaint, text, retry_at, found)


def says_unknown_session(result: Mapping[str, Any]) -> bool:
    """Whether a failed result says that its session cannot be used."""
    return complaint_in(terminal_text(result), SESSION_TEXTS) is not None


def find_login_url(text: str) -> str | None:
    """The first address in the text that is for logging in."""
    found = _LOGIN_URL.search(text)
    return found[0].rstrip(".,;:)]}'\"") if found else None


def refused_session(told: Transcript) -> str:
    """The CLI's sentence that refuses the session, on stderr or as plain text on stdout; else nothing.

    The CLI says so before the model is asked: once the agent has answered, such a line is somebody else's.
    A line counts where it begins with such a sentence, for other programs write to stderr as well.
    """
    if told.substance:
        return ""
    lines = (line.strip() for line in (*told.plain_lines, *told.stderr_tail.split("\n")))
    return next((line for line in lines if line_complaint(line, SESSION_TEXTS)), "")


def _by_fields(result: Mapping[str, Any], told: Transcript) -> Complaint | None:
    if is_max_turns(result):
        return Complaint.MAX_TURNS
    found = _BY_SUBTYPE.get(str(result.get("subtype"))) or _BY_TERMINAL_REASON.get(
        str(result.get("terminal_reason"))
    )
    if found is not None:
        return found
    if result.get("stop_reason") == "refusal":
        return Complaint.REFUSAL
    return _by_api_error(result, told)


def _by_api_error(result: Mapping[str, Any], told: Transcript) -> Complaint | None:
    """How the API answered, as the CLI noted it in the result and with its last event."""
    status = result.get("api_error_status")
    if result.get("terminal_reason") == _IMAGE_ERROR and status != 413:
        return Complaint.POISONED_SESSION
    found = _BY_API_ERROR.get(str(result.get("api_error"))) or next(
        (_BY_ERROR[error] for error in reversed(told.assistant_errors) if error in _BY_ERROR), None
    )
    return found or (_by_status(status) if isinstance(status, int) else None)


def _by_status(status: int) -> Complaint | None:
    return Complaint.TRANSIENT if status in SERVER_ERRORS else _BY_STATUS.get(status)


def _by_text(text: str, told: Transcript) -> Complaint | None:
    if complaint_in(text, SESSION_TEXTS) or refused_session(told):
        return Complaint.SESSION_UNAVAILABLE
    found = complaint_in(text, RESULT_TEXTS)
    status = status_in(text)
    if found is None and status is not None:
        found = _by_status(status)
    return found or (Complaint.EMPTY_REPLY if told.empty_reply else None)


def _is_quota(told: Transcript, text: str) -> bool:
    """A limit that resets; a throttle of the same token is told by a rejection that names no such time."""
    if complaint_in(text, RESULT_TEXTS) is Complaint.QUOTA:
        return True
    limit = told.rate_limit or {}
    rejected = limit.get("status") == "rejected" and bool(limit.get("resetsAt"))
    return rejected and "rate_limit" in told.assistant_errors


def _retry_at(told: Transcript, text: str, now: datetime) -> datetime | None:
    resets = (told.rate_limit or {}).get("resetsAt")
    if isinstance(resets, (int, float)) and 0 < resets < FAR_FUTURE:
        return datetime.fromtimestamp(resets, UTC)
    return reset_time(text, now)
