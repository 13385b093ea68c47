"""What a failed result complains of: machine-readable fields first, the CLI's own words last.

What the model or a tool said is never looked at (PEERS E6); the texts are those the CLI was seen to print.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from paperclip_claude_k8s.claude.quota import reset_time
from paperclip_claude_k8s.claude.transcript import Transcript
from paperclip_claude_k8s.claude.words import terminal_text


class Complaint(Enum):
    """Each asks for another reaction of the host or the operator."""

    SESSION_UNAVAILABLE = auto()
    POISONED_SESSION = auto()
    MAX_TURNS = auto()
    MAX_BUDGET = auto()
    MAX_OUTPUT = auto()
    AUTH_REQUIRED = auto()
    QUOTA = auto()
    TRANSIENT = auto()
    CREDIT_EXHAUSTED = auto()
    MODEL_NOT_FOUND = auto()
    PROMPT_TOO_LONG = auto()
    REFUSAL = auto()
    EMPTY_REPLY = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Classified:
    """A complaint, and what the CLI said with it. `retry_at` is an aware UTC time."""

    complaint: Complaint
    text: str
    retry_at: datetime | None = None
    login_url: str | None = None


_BY_SUBTYPE = {
    "error_max_turns": Complaint.MAX_TURNS,
    "error_max_budget_usd": Complaint.MAX_BUDGET,
}
_BY_TERMINAL_REASON = {
    "max_turns": Complaint.MAX_TURNS,
    "prompt_too_long": Complaint.PROMPT_TOO_LONG,
}
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
_LIMIT = re.compile(r"you'?ve hit your .{0,40}limit", re.IGNORECASE)
_SESSION = re.compile(
    r"no conversation found with session id|--resume requires a valid session"
    r"|session id \S+ is already in use",
    re.IGNORECASE,
)
_POISONED = re.compile(r"previous_message_id|unprocessable image|image could not be processed", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"^api error: (internal server error|.*overloaded|unable to connect|connection to the api was lost)"
    r"|^request timed out|repeated 529",
    re.IGNORECASE,
)
_LOGIN_URL = re.compile(r"https://\S*(?:login|oauth|auth)\S*", re.IGNORECASE)
_DISABLED = "belongs to a disabled organization"
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


def find_login_url(text: str) -> str | None:
    """The first address in the text that is for logging in."""
    found = _LOGIN_URL.search(text)
    return found[0].rstrip(".,;:)]}'\"") if found else None


def stderr_complaint(text: str) -> Complaint | None:
    """What a run without any result says on stderr: only a session that cannot be used is told there."""
    return Complaint.SESSION_UNAVAILABLE if _SESSION.search(text) else None


def _by_fields(result: Mapping[str, Any], told: Transcript) -> Complaint | None:
    found = _BY_SUBTYPE.get(str(result.get("subtype"))) or _BY_TERMINAL_REASON.get(
        str(result.get("terminal_reason"))
    )
    if found is not None:
        return found
    if result.get("stop_reason") == "refusal":
        return Complaint.REFUSAL
    for error in reversed(told.assistant_errors):
        if error in _BY_ERROR:
            return _BY_ERROR[error]
    status = result.get("api_error_status")
    if status in SERVER_ERRORS:
        return Complaint.TRANSIENT
    return _BY_STATUS.get(status) if isinstance(status, int) else None


def _by_text(text: str, told: Transcript) -> Complaint | None:
    if _SESSION.search(text) or _SESSION.search(told.stderr_tail):
        return Complaint.SESSION_UNAVAILABLE
    if _POISONED.search(text):
        return Complaint.POISONED_SESSION
    if _DISABLED in text:
        return Complaint.AUTH_REQUIRED
    if _TRANSIENT.search(text):
        return Complaint.TRANSIENT
    return Complaint.EMPTY_REPLY if told.empty_reply else None


def _is_quota(told: Transcript, text: str) -> bool:
    limit = told.rate_limit or {}
    return bool(_LIMIT.search(text)) or (
        limit.get("status") == "rejected" and "rate_limit" in told.assistant_errors
    )


def _retry_at(told: Transcript, text: str, now: datetime) -> datetime | None:
    resets = (told.rate_limit or {}).get("resetsAt")
    if isinstance(resets, (int, float)) and 0 < resets < FAR_FUTURE:
        return datetime.fromtimestamp(resets, UTC)
    return reset_time(text, now)
