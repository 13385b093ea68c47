"""The error texts of the CLI: one row per text, with its class and the version that prints it.

The table is a fallback: it is used only if the machine-readable fields of a result do not classify the
failure (see `classification`). It is matched against texts of the CLI itself: the text of a failed result,
its `errors`, stderr, and plain lines before the model's first message. It is never matched against a message
of the model or the output of a tool; but the text of a failed result may quote them. Matching ignores case,
and the first matching row decides, so the order of the rows matters.

To add a text, copy it from a recorded output, anchor it with `^` if the model's text could quote it, and name
the CLI version. Example: a failed result with the text

    API Error: 400 ... messages.1.content.0: `tool_use` ids were found without `tool_result` blocks

is `POISONED_SESSION`: the stored session is invalid, so that every run that resumes it would fail again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto


class FailureClass(Enum):
    """Classes of failures. The host or the administrator reacts to each in a different way."""

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
class KnownText:
    """A text of the CLI, or of the API as the CLI repeats it.

    `pattern` is a regular expression, matched case-insensitively; `^` is the start of the text. `seen_in` is
    a CLI version that printed the text, "API" for a text of the model API, or "reported" for a text that bug
    reports quote without a version.
    """

    failure_class: FailureClass
    pattern: str
    seen_in: str


_SESSION = FailureClass.SESSION_UNAVAILABLE
SESSION_TEXTS = (
    KnownText(_SESSION, r"\bno conversation found with session id\b", "2.1.197"),
    KnownText(_SESSION, r"--resume requires a valid session\b", "2.1.197"),
    KnownText(_SESSION, r"\bsession id \S+ is already in use\b", "2.1.197"),
    KnownText(_SESSION, r"\bunknown session\b", "reported"),
    KnownText(_SESSION, r"\bsession \S+ (?:was )?not found\b", "reported"),
)
"""The CLI refused the session before it called the model. It prints the text in a result or as plain text."""

_POISONED = FailureClass.POISONED_SESSION
_THINKING = r"`?thinking`?(?: or `?redacted_thinking`?)?"
POISONED_TEXTS = (
    KnownText(_POISONED, r"previous_message_id", "API"),
    KnownText(_POISONED, r"unprocessable image|image could not be processed", "reported"),
    KnownText(_POISONED, r"could not process image", "API"),
    KnownText(_POISONED, r"image exceeds \S+ [km]b maximum|image exceeds the maximum", "API"),
    KnownText(_POISONED, r"image was too large|image (?:file )?(?:size )?is too large", "reported"),
    KnownText(_POISONED, r"image dimensions exceed", "API"),
    KnownText(_POISONED, r"exceeds the dimension limit", "reported"),
    KnownText(_POISONED, r"image (?:source |data )?(?:cannot be|is|was) empty|image\S*: .{0,40}empty", "API"),
    KnownText(_POISONED, r"too much media|too many images", "API"),
    KnownText(_POISONED, r"image (?:does not match the provided|was specified using the) .{0,40}", "API"),
    KnownText(_POISONED, r"image (?:format|media type|data|source).{0,40}(?:invalid|not supported)", "API"),
    KnownText(_POISONED, r"unable to (?:resize|process|download) (?:the )?image", "reported"),
    KnownText(_POISONED, r"pdf (?:specified )?(?:was not valid|is password protected|is too large)", "API"),
    KnownText(_POISONED, r"^(?:pdf too large|invalid pdf)\b", "reported"),
    KnownText(_POISONED, r"`?tool_use`? ids were found without `?tool_result`? blocks", "API"),
    KnownText(_POISONED, r"unexpected `?tool_use_id`? found in `?tool_result`? blocks", "API"),
    KnownText(_POISONED, r"multiple `?tool_result`? blocks with id", "API"),
    KnownText(_POISONED, r"`?tool_use`? ids must be unique", "API"),
    KnownText(_POISONED, r"tool use concurrency issues", "reported"),
    KnownText(_POISONED, rf"{_THINKING} blocks\b.{{0,60}} cannot be modified", "API"),
    KnownText(_POISONED, rf"expected {_THINKING},? but found", "API"),
    KnownText(_POISONED, rf"invalid `?signature`? in {_THINKING} block", "API"),
    KnownText(_POISONED, r"final block in an assistant message cannot be `?thinking`?", "API"),
    KnownText(_POISONED, r"all messages must have non-empty content|text content blocks must", "API"),
    KnownText(_POISONED, r"no (?:low|high) surrogate in string", "API"),
)
"""The API rejects the stored content of the session, and will reject it again in every run that resumes
it."""

_TOO_LONG = FailureClass.PROMPT_TOO_LONG
_AUTH = FailureClass.AUTH_REQUIRED
_CREDIT = FailureClass.CREDIT_EXHAUSTED
_REFUSAL = FailureClass.REFUSAL
_QUOTA = FailureClass.QUOTA
_TRANSIENT = FailureClass.TRANSIENT
RESULT_TEXTS = (
    *POISONED_TEXTS,
    KnownText(_TOO_LONG, r"^(?:api error: .{0,200})?prompt is too long\b", "2.1.197"),
    KnownText(_TOO_LONG, r"input length and `?max_tokens`? exceed context limit", "API"),
    KnownText(_TOO_LONG, r"^(?:conversation (?:is )?too long|context limit reached)\b", "reported"),
    KnownText(
        _TOO_LONG, r"^(?:api error: .{0,200})?request (?:too large|exceeds the maximum size)", "2.1.197"
    ),
    KnownText(_TRANSIENT, r"not your usage limit", "2.1.332"),
    KnownText(_QUOTA, r"^claude ai usage limit reached\b", "1.0"),
    KnownText(_QUOTA, r"^(?:[\w'.-]+ ){0,4}limit reached\b\s*(?:[∙·|•.]|$)", "2.0"),
    KnownText(_QUOTA, r"you['\u2019]?ve hit your .{0,40}limit", "2.1.197"),
    KnownText(_CREDIT, r"^(?:api error: .{0,200})?(?:your )?credit balance is too low\b", "2.1.197"),
    KnownText(_CREDIT, r"^usage credits required\b", "2.1.332"),
    KnownText(_AUTH, r"belongs to a disabled organization|organization has been disabled", "2.1.197"),
    KnownText(_AUTH, r"please run /login\b|please login again\b", "2.1.197"),
    KnownText(_AUTH, r"^failed to authenticate\b", "2.1.197"),
    KnownText(
        _AUTH, r"^(?:login|oauth (?:token|session)) (?:has )?(?:been )?(?:expired|revoked)\b", "reported"
    ),
    KnownText(_AUTH, r"^(?:invalid api key|not logged in|invalid bearer token)\b", "2.1.197"),
    KnownText(
        FailureClass.MAX_OUTPUT,
        r"^api error: the model has reached its context window limit"
        r"|^api error: claude's response exceeded the \d+ output token maximum",
        "2.1.197",
    ),
    KnownText(_REFUSAL, r"unable to respond to this request, which appears to violate", "2.1.197"),
    KnownText(_REFUSAL, r"^api error: \S+ can't help with this\.", "2.1.332"),
    KnownText(FailureClass.MAX_TURNS, r"^reached (?:maximum number of|max) turns\b", "2.1.197"),
    KnownText(FailureClass.MAX_BUDGET, r"^reached maximum budget\b", "2.1.197"),
    KnownText(FailureClass.MODEL_NOT_FOUND, r"^there's an issue with the selected model\b", "2.1.197"),
    KnownText(
        FailureClass.MODEL_NOT_FOUND,
        r"^api error(?: \(\S+\))?: the provided model identifier is invalid",
        "reported",
    ),
    KnownText(_TRANSIENT, r"^api error:? .{0,60}overloaded|^api error: repeated 529", "2.1.197"),
    KnownText(_TRANSIENT, r"^api error: internal server error", "reported"),
    KnownText(_TRANSIENT, r"^api error: (?:server error|connection lost) mid-response", "2.1.332"),
    KnownText(_TRANSIENT, r"^api error: connection (?:refused|error|closed|reset)", "2.1.332"),
    KnownText(_TRANSIENT, r"^api error: (?:unable to connect|connection to the api was lost)", "2.1.197"),
    KnownText(_TRANSIENT, r"^api error: can't reach the api server", "2.1.332"),
    KnownText(_TRANSIENT, r"^api error: stream idle timeout", "reported"),
    KnownText(_TRANSIENT, r"^api error: (?:fetch failed|socket hang up|terminated)", "reported"),
    KnownText(_TRANSIENT, r"^(?:api error: )?(?:the )?(?:request|operation) timed out", "2.1.197"),
)
"""Rows for texts of failed results, except texts about the session."""

_ERROR_PREFIX = "error: "
_STATUS_IN_TEXT = re.compile(r"^(?:failed to authenticate\. )?api error: (\d{3})\b", re.IGNORECASE)


def class_in_text(text: str, table: Iterable[KnownText]) -> FailureClass | None:
    """The class of the first row that matches anywhere in the text; None if none does."""
    return next((known.failure_class for known in table if _compiled(known).search(text)), None)


def class_of_line(line: str, table: Iterable[KnownText]) -> FailureClass | None:
    """As `class_in_text`, for a line of unknown origin: it must start with the known text."""
    start = line.strip()
    start = start[len(_ERROR_PREFIX) :] if start.lower().startswith(_ERROR_PREFIX) else start
    return next((known.failure_class for known in table if _compiled(known).match(start)), None)


def status_in(text: str) -> int | None:
    """The HTTP status in a text such as `API Error: 500 {...}`, as version 1.0 prints it; else None."""
    found = _STATUS_IN_TEXT.match(text)
    return int(found[1]) if found else None


def _compiled(known: KnownText) -> re.Pattern[str]:
    return re.compile(known.pattern, re.IGNORECASE)
