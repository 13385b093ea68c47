"""Masks secrets in text for people. A secret is recognized by the name before it or by its shape.

`SECRET_WORDS` and `SHAPES` are the tables of names and shapes. `mask_credentials` masks shapes that do not
occur in prose. `redact_text` is for command lines and errors: it masks too much rather than too little.
`known_secrets.py` masks secrets whose values are known.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence

MASK = "***REDACTED***"

SECRET_WORDS = (
    "key",
    "token",
    "secret",
    "passw",  # password, passwd
    "passphrase",
    "passcode",
    "authorization",
    "cookie",
    "credential",
    "webhook",
    "connstr",
    "conn_str",
    "conn-str",
    "connectionstr",
    "connection_str",
    "connection-str",
)
"""A name that contains one of these counts as secret; upper and lower case are the same."""
SECRET_PARTS = (
    "pass",
    "pwd",
    "auth",
    "dsn",
    "private",
    "cred",
    "creds",
    "jwt",
    "bearer",
    "pat",
    "otp",
    "sas",
)
"""A name with one of these as a whole word counts as secret: `DB_PASS`, `dbPass`, not `COMPASS`."""


def _any_whole_word(parts: Collection[str]) -> str:
    """A pattern for one of the words: with no letter beside it, or capitalized inside a camelCase name."""
    lower = "|".join(f"[{part[0]}{part[0].upper()}]{part[1:]}" for part in parts)
    upper, title = "|".join(parts).upper(), "|".join(part.title() for part in parts)
    alone = rf"(?<![A-Za-z])(?:(?:{lower})(?![a-z])|(?:{upper})(?![A-Za-z]))"
    return rf"{alone}|(?<=[a-z0-9])(?:{title})(?![a-z])"


_NAME_PATTERN = f"(?:(?i:{'|'.join(SECRET_WORDS)})|{_any_whole_word(SECRET_PARTS)})"
_SECRET_NAME = re.compile(_NAME_PATTERN)

SHAPES: tuple[tuple[str, str], ...] = (
    ("API key of Anthropic, OpenAI and others", r"\bsk-[\w-]{8,}+"),
    ("key of Stripe", r"\b[sr]k_(?:live|test)_\w{8,}+"),
    ("token of GitHub", r"\bgh[a-z]_\w{8,}+|\bgithub_pat_\w{8,}+"),
    ("token of GitLab", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt)-[\w-]{8,}+"),
    ("access key of AWS", r"\bA(?:KIA|SIA)[A-Z0-9]{12,}+"),
    ("token of Slack", r"\bx(?:ox[a-z]|app)-[\w-]{8,}+"),
    ("key or token of Google", r"\bAIza[\w-]{16,}+|\bya29\.[\w-]{8,}+|\bGOCSPX-[\w-]{8,}+"),
    ("token of npm", r"\bnpm_[A-Za-z0-9]{16,}+"),
    ("token of Hugging Face", r"\bhf_[A-Za-z0-9]{16,}+"),
    ("token of PyPI", r"\bpypi-[\w-]{16,}+"),
    ("token of Docker Hub", r"\bdckr_[a-z]{3}_[\w-]{8,}+"),
    ("key of SendGrid", r"\bSG\.[\w-]{8,}+\.[\w-]{8,}+"),
    ("token of Vault", r"\bhv[sbr]\.[\w-]{16,}+"),
    ("token of DigitalOcean", r"\bdo[opr]_v1_[a-f0-9]{16,}+"),
    ("token of Telegram", r"\b\d{8,10}:[\w-]{32,}+"),
    ("other tokens with a prefix", r"\b(?:gsk_|xai-|lin_api_|shp(?:at|ss|ca|pa)_|ATATT|dapi)[\w-]{16,}+"),
    ("JSON web token", r"eyJ(?<![\w-]eyJ)[\w-]{4,}+\.[\w-]{4,}+\.[\w-]*+"),
    (
        "private key in PEM",
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----(?:(?!-----)[\s\S])*+"
            r"(?:-----END [A-Z0-9 ]{0,70}-----)?"
        ),
    ),
    ("key of age", r"\bAGE-SECRET-KEY-1[A-Z0-9]{8,}+"),
    (
        "key in a connection string of Azure",
        r"\b(?i:(?:AccountKey|SharedAccess(?:Key|Signature))=[^\s;\"']++)",
    ),
    ("password in a connection string", r"\b(?i:(?:password|passwd|pwd)=[^\s;&\"',]++)"),
    (
        "address of a webhook",
        r"\b(?:hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|webhook\.office\.com)/[\w/@.-]{8,}+",
    ),
    (
        "user and password in Base64",
        r"\b[Bb]asic\s{1,4}(?=[A-Za-z+/]*?(?:[a-z][A-Z]|[0-9=]))(?:[A-Za-z0-9+/]{4}){2,}+(?:[A-Za-z0-9+/]{2,3}=?=)?(?![\w+/=-])",
    ),
)
"""What kind of credential it is, and a pattern that matches no prose. Each pattern takes linear time."""

_SECRET_NAME_AHEAD = rf"(?=[\w.-]*?{_NAME_PATTERN})"
"""Lookahead: the name that begins here contains a secret word. Tried once per name, for linear time."""

_WORD = r"""(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'[^']*(?:'|\Z)|\\.?|[^\s"'\\])+"""
"""One shell word of quoted and bare pieces. An unclosed quote reaches to the end of the text."""

_AUTHENTICATION = re.compile(r"\b((?:bearer|basic)\s+)[^\s\"',;]+", re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^\s/@\"']+(?=@)")
_AT_WORD_START = [pattern for _, pattern in SHAPES if pattern.startswith(r"\b")]
"""Patterns that match only at the start of a word."""
_FIRST = r"ABGPSXabdghlnprswxy\d"
"""Characters with which a match of `_AT_WORD_START` can begin; a lookahead for them saves time."""
_KNOWN_SHAPES = (
    re.compile(rf"(?<!\w)(?=[{_FIRST}])(?:{'|'.join(_AT_WORD_START)})"),
    *(re.compile(pattern) for _, pattern in SHAPES if pattern not in _AT_WORD_START),
)

_PROSE_MASKS = (
    (re.compile(r"\b(bearer\s+)(?=[\w.~+/=-]{12})[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    *((shape, MASK) for shape in _KNOWN_SHAPES),
)
"""Pattern and replacement for credentials that do not occur in prose.

In this order: bearer tokens of 12 characters or more, URL credentials, well-known shapes.
"""

_COMMAND_MASKS = (
    (re.compile(r"\b((?:authorization|cookie)\s*:\s*)[^\s\"'][^\r\n\"']*", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(bearer\s+)[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    *((shape, MASK) for shape in _KNOWN_SHAPES),
    (re.compile(rf"(?s)(?<![\w.-]){_SECRET_NAME_AHEAD}([\w.-]++[\"']?\s*[=:]\s*){_WORD}"), rf"\1{MASK}"),
    (re.compile(rf"(?s)(?<![\w.-])(-{{1,2}}{_SECRET_NAME_AHEAD}[\w.-]++\s+)(?!--){_WORD}"), rf"\1{MASK}"),
)
"""Pattern and replacement for command lines and errors.

In this order: headers, bearer tokens, URL credentials, well-known shapes, NAME=value, --option value.
"""
_HEADER_OPTIONS = frozenset({"-H", "--header", "--headers"})
_HEADER_NAME = re.compile(r"[\w-]{1,80}")
VALUES_ARE_SECRET = frozenset({"env", "headers"})
"""Keys of objects in JSON whose values all count as secret."""
MAX_NAME_CHARS = 200
"""A longer name counts as secret without being searched. Names of variables are not longer than this."""
MAX_JSON_CHARS = 16 * 1024
"""If the JSON arguments of one command are longer in all, they count as secret without being read: all runs
wait while they are searched."""
MAX_JSON_VALUES = 2_000
"""The same for their commas and opening brackets."""
_SHORTEST_CREDENTIAL = len("pat=x")
"""In a shorter text nothing is masked; no credential and no name of one is shorter."""


def is_secret_name(name: str) -> bool:
    """Return whether a variable, option or header of this name counts as secret.

    It may err on the safe side: `MONKEY` counts too, because it contains KEY.
    """
    return len(name) > MAX_NAME_CHARS or _has_secret_word(name)


def _has_secret_word(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def looks_like_credential(text: str) -> bool:
    """Return whether a value contains a credential that is recognizable by its shape.

    Whatever follows the words Bearer or Basic counts as one.
    """
    if len(text) < _SHORTEST_CREDENTIAL:
        return False
    return any(shape.search(text) for shape in (*_KNOWN_SHAPES, _USERINFO, _AUTHENTICATION))


def mask_credentials(text: str) -> str:
    """Return `text` with the credentials masked that are recognizable by their shape; prose is unchanged."""
    for pattern, masked in _PROSE_MASKS:
        text = pattern.sub(masked, text)
    return text


def redact_text(text: str) -> str:
    """Return a command line or message with credentials masked: rather too much than too little."""
    if len(text) < _SHORTEST_CREDENTIAL:
        return text
    for pattern, masked in _COMMAND_MASKS:
        text = pattern.sub(masked, text)
    return text


def redact_command(argv: Sequence[str]) -> list[str]:
    """Return arguments with credentials masked.

    Each is examined separately, because a value may contain spaces. The argument after an option with a
    secret name is masked as a whole. Of the argument after `--header`, only the header's name is shown.
    """
    shown: list[str] = []
    option, reads_json = "", _is_little_json(argv)
    for part in argv:
        if option and not part.startswith("--"):
            shown.append(_redact_header(part) if option in _HEADER_OPTIONS else MASK)
        else:
            shown.append(_redact_argument(part, reads_json=reads_json))
        option = part if part.startswith("-") and _takes_secret(part) else ""
    return shown


def secret_texts(value: object) -> Iterator[str]:
    """Yield each text in a JSON value that is secret by its key, by its shape, or as an argument in a list.

    All values of `env` and `headers` are secret too. The nesting may have any depth.
    """
    waiting: list[tuple[str, object, bool]] = [("", value, False)]
    while waiting:
        name, item, secret = waiting.pop()
        if isinstance(item, str):
            if item.strip() and (secret or looks_like_credential(item) or redact_text(item) != item):
                yield item
        elif isinstance(item, dict):
            inner = secret or name in VALUES_ARE_SECRET
            waiting += [(str(key), part, inner or is_secret_name(str(key))) for key, part in item.items()]
        elif isinstance(item, list):
            texts = [part if isinstance(part, str) else "" for part in item]
            hidden = [text != shown for text, shown in zip(texts, redact_command(texts), strict=True)]
            waiting += [(name, part, secret or hide) for part, hide in zip(item, hidden, strict=True)]


def _takes_secret(option: str) -> bool:
    return option in _HEADER_OPTIONS or ("=" not in option and _has_secret_word(option))


def _redact_header(part: str) -> str:
    name, separator, _ = part.partition(":")
    return f"{name}: {MASK}" if separator and _HEADER_NAME.fullmatch(name) else MASK


def _redact_argument(part: str, *, reads_json: bool) -> str:
    name, separator, value = part.partition("=")
    if separator and " " not in name:
        if _has_secret_word(name):
            return f"{name}={MASK}"
        if name in _HEADER_OPTIONS:
            return f"{name}={_redact_header(value)}"
        if _looks_like_json(value) and not (reads_json and _is_public_json(value)):
            return f"{name}={MASK}"
    if _looks_like_json(part) and not (reads_json and _is_public_json(part)):
        return MASK
    return redact_text(part)


def _looks_like_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _is_little_json(argv: Sequence[str]) -> bool:
    """Whether the JSON among the arguments, such as settings of the CLI, is short enough to be read."""
    texts = [part for part in argv if _looks_like_json(part) or _looks_like_json(part.partition("=")[2])]
    values = sum(text.count(mark) for text in texts for mark in ",[{")
    return sum(map(len, texts)) <= MAX_JSON_CHARS and values <= MAX_JSON_VALUES


def _is_public_json(text: str) -> bool:
    """Whether the text is no JSON, or JSON without a secret."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return next(secret_texts(value), None) is None
