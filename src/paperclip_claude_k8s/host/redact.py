"""Masking of secrets in what is shown: by name, by shape, and by known value (HOST.md 7.6)."""

import re
from collections.abc import Iterable, Mapping

MASK = "***REDACTED***"

_SECRET_WORDS = re.compile(r"key|token|secret|password|passwd|authorization|cookie", re.IGNORECASE)

_KNOWN_VALUE_CHARS = 8
"""Shorter values are too common to be masked wherever they occur."""

_VALUE = r"""(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'[^']*(?:'|\Z)|\\.?|[^\s"'\\])+"""
"""One shell word: quoted and bare pieces together. An open quote reaches to the end, so that nothing slips out."""

_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\s*:\s*)(?!\s)[^\r\n\"']+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+)[^\s\"',;]+")
_OPTION = re.compile(rf"(?s)(?<![\w-])(-{{1,2}}[A-Za-z][\w.-]*)(\s+)(?!--)({_VALUE})")
_ASSIGNMENT = re.compile(rf"(?s)(?<![\w.-])([\w.-]+)([\"']?\s*[=:]\s*)({_VALUE})")
_SHAPES = re.compile(
    r"\bsk-[\w-]{8,}"
    r"|\bgh[a-z]_\w{8,}|\bgithub_pat_\w{8,}"
    r"|\beyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*"
)
_URL_PASSWORD = re.compile(r"(://)[^\s/@\"']*:[^\s/@\"']+(?=@)")


def is_secret_name(name: str) -> bool:
    """Does the name of a variable, option or header promise a secret? MONKEY does too: better masked than told."""
    return _SECRET_WORDS.search(name) is not None


def holds_secret(text: str) -> bool:
    """Does the text carry something that is a credential by its very shape, whatever it is called?"""
    return any(shape.search(text) for shape in (_SHAPES, _URL_PASSWORD, _BEARER))


def redact_env(env: Mapping[str, str]) -> dict[str, str]:
    """The same variables, those with a secret-looking name masked."""
    return {name: MASK if is_secret_name(name) else value for name, value in env.items()}


def redact_text(text: str) -> str:
    """A command line or message without its credentials. Idempotent; masks rather too much than too little."""
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _BEARER.sub(rf"\1\2{MASK}", text)
    text = _URL_PASSWORD.sub(rf"\1{MASK}", text)
    text = _SHAPES.sub(MASK, text)
    text = _ASSIGNMENT.sub(_masked_if_named_so, text)
    return _OPTION.sub(_masked_if_named_so, text)


def redact_command(argv: Iterable[str]) -> list[str]:
    """Arguments one by one, where a value may hold blanks that a flat text would not show."""
    shown: list[str] = []
    value_of_secret = False
    for part in argv:
        shown.append(MASK if value_of_secret and not part.startswith("--") else _redact_argument(part))
        value_of_secret = part.startswith("-") and "=" not in part and is_secret_name(part)
    return shown


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """`text` with every known secret value masked, wherever it stands; longest first, since one may hold another."""
    known = sorted({value for value in secrets if len(value) >= _KNOWN_VALUE_CHARS}, key=len, reverse=True)
    for value in known:
        text = text.replace(value, MASK)
    return text


def _masked_if_named_so(match: re.Match[str]) -> str:
    name, between = match[1], match[2]
    return f"{name}{between}{MASK}" if is_secret_name(name) else match[0]


def _redact_argument(part: str) -> str:
    name, separator, _ = part.partition("=")
    if separator and " " not in name and is_secret_name(name):
        return f"{name}={MASK}"
    return redact_text(part)
