"""The texts by which the Claude CLI says what happened, from the table `known_texts.toml`.

The table is used where the machine-readable fields of a result say nothing or too little (see
`classification`). It is matched against texts of the CLI itself: the text of a failed result, its `errors`,
stderr, and plain lines before the model's first message. It is never matched against a message of the model
or the output of a tool.

To add a text, copy it from a recorded output into a line of the table, with the CLI version and its class.
Example: with the row `["poisoned_session", "API", "*tool_use ids were found without tool_result blocks"]`, a
failed result with the text

    API Error: 400 ... messages.1.content.0: `tool_use` ids were found without `tool_result` blocks

is `POISONED_SESSION`: the stored session is invalid, so that every run that resumes it would fail again.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache
from importlib.resources import files


class FailureClass(StrEnum):
    """Classes of failures. The host or the administrator reacts to each in a different way."""

    SESSION_UNAVAILABLE = auto()
    """The session cannot be resumed. The CLI says so before it calls the model."""
    POISONED_SESSION = auto()
    """The API rejects what the session contains."""
    MAX_TURNS = auto()
    MAX_BUDGET = auto()
    MAX_OUTPUT = auto()
    """One answer exceeded the limit of output tokens."""
    CONTEXT_WINDOW = auto()
    """The conversation filled the model's context window in the middle of an answer."""
    AUTH_REQUIRED = auto()
    QUOTA = auto()
    """A usage limit that resets."""
    TRANSIENT = auto()
    """Throttling, errors of the service, lost connections."""
    THROTTLED = auto()
    """The service limits everybody's requests for a moment, whatever the account's own limits are."""
    UNTRUSTED_CERTIFICATE = auto()
    """The CLI does not trust the TLS certificate of the API, or of a proxy before it."""
    CREDIT_EXHAUSTED = auto()
    MODEL_NOT_FOUND = auto()
    PROMPT_TOO_LONG = auto()
    REFUSAL = auto()
    """A refusal because of the usage policy, which follows from what the session contains."""
    CONTENT_FILTER = auto()
    """A filter stopped one answer of the model."""
    EMPTY_REPLY = auto()
    OTHER = auto()


class LineKind(Enum):
    """What a text says if it does not describe a failure of the run."""

    UNKNOWN_COMMAND = "unknown_command"
    """The result of a prompt that was taken for a command that does not exist."""
    CRASH = "crash"
    """A plain line by which a program that crashes says so."""
    NOISE = "noise"
    """A plain line that names no cause, such as a deprecation warning."""


TextClass = FailureClass | LineKind

_GAP_CHARS = 200
"""A `*` inside a text stands for at most this many characters."""
_PREFIXES = (
    r"(?:error: )?(?:failed to authenticate[.:] )?(?:api error(?: \([^)]{1,100}\))?:? ?)?(?:\d{3} )?"
    r'(?:\{.{0,200}?"message": ?")?'
)
"""What the CLI and the API put before the text of a failure. All of it is optional."""
_OF_API = re.compile(r"(?:error: )?(?:api error\b|failed to authenticate\b|\d{3} |\{)", re.IGNORECASE)
"""The start of a text that repeats an answer of the API."""
_STATUS_IN_TEXT = re.compile(
    r"^(?:failed to authenticate\. )?api error(?: \([^)]{1,100}\))?: (\d{3})\b", re.IGNORECASE
)
_PLAIN_QUOTES = str.maketrans({"`": None, "\u2018": "'", "\u2019": "'"})


@dataclass(frozen=True, slots=True)
class KnownText:
    """A row of the table. `text_class` is what the text says, `seen_in` where it was seen."""

    text_class: TextClass
    seen_in: str
    text: str

    @property
    def is_anywhere(self) -> bool:
        """Whether the text may stand anywhere in a line, not only at its start."""
        return self.text.startswith("*")

    def matches(self, line: str) -> bool:
        """Whether the line contains the text: anywhere if `is_anywhere`, else after the CLI's prefixes."""
        return _compiled(self.text).match(line.translate(_PLAIN_QUOTES)) is not None


@cache
def known_texts() -> tuple[KnownText, ...]:
    """All rows, in the order in which they are matched."""
    table = tomllib.loads((files(__package__) / "known_texts.toml").read_text(encoding="utf-8"))
    return tuple(KnownText(_text_class(name), seen_in, text) for name, seen_in, text in table["texts"])


def class_of_text(text: str, *, quoted: bool = False) -> FailureClass | None:
    """The failure class of the first row that matches the text of a failed result; None if no row does.

    `quoted`: other programs may have written parts of the text, as in `errors`. A row that may stand anywhere
    then counts only in a part that repeats an answer of the API.
    """
    parts = list(_parts(text))
    for known in known_texts():
        if isinstance(known.text_class, FailureClass) and any(
            known.matches(part) for part in parts if not (quoted and known.is_anywhere) or _OF_API.match(part)
        ):
            return known.text_class
    return None


def kind_of_line(line: str, kinds: Iterable[TextClass]) -> TextClass | None:
    """The class of the first row that has one of these classes and matches the line; None if there is none.

    Other programs print lines as well. A failure's text that may stand anywhere is therefore not looked for.
    """
    wanted, text = set(kinds), line.strip()
    rows = (known for known in known_texts() if known.text_class in wanted)
    certain = (known for known in rows if isinstance(known.text_class, LineKind) or not known.is_anywhere)
    return next((known.text_class for known in certain if known.matches(text)), None)


def status_in(text: str) -> int | None:
    """The HTTP status in a text such as `API Error: 500 {...}`, as CLI 1.0 prints it; else None."""
    found = _STATUS_IN_TEXT.match(text)
    return int(found[1]) if found else None


def _parts(text: str) -> Iterator[str]:
    """The text in one line, then its parts, which newlines or `; ` separate."""
    yield " ".join(text.split())
    parts = [part.strip() for part in re.split(r"\n|; ", text)]
    if len(parts) > 1:
        yield from filter(None, parts)


def _text_class(name: str) -> TextClass:
    return LineKind(name) if name in {kind.value for kind in LineKind} else FailureClass(name)


@cache
def _compiled(text: str) -> re.Pattern[str]:
    prefix = ".*?" if text.startswith("*") else _PREFIXES
    plain = text.translate(_PLAIN_QUOTES).removeprefix("*")
    pieces = re.split(r"(\*|<word>)", plain)
    wild = {"*": f".{{0,{_GAP_CHARS}}}?", "<word>": r"\S+"}
    return re.compile(
        prefix + "".join(wild.get(piece, re.escape(piece)) for piece in pieces), re.IGNORECASE | re.DOTALL
    )
