"""Masking of secrets in what is shown: by name, by shape, and by known value (HOST.md 7.6)."""

import re
from collections.abc import Collection, Iterable
from typing import Any

MASK = "***REDACTED***"

_TELLTALES = "key|token|secret|password|passwd|authorization|cookie"
_SECRET_NAME = re.compile(_TELLTALES, re.IGNORECASE)

_KNOWN_VALUE_CHARS = 8
"""Shorter values are too common to be masked wherever they occur."""

_NAMED_SO = rf"(?=[\w.-]*?(?:{_TELLTALES}))"
"""Looks ahead into one name, once: names that promise nothing are passed over, however long they are."""

_VALUE = r"""(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'[^']*(?:'|\Z)|\\.?|[^\s"'\\])+"""
"""One shell word: quoted and bare pieces together. An open quote reaches to the end: nothing slips out."""

_BEARER = re.compile(r"\b(bearer\s+)[^\s\"',;]+", re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^\s/@\"']+(?=@)")
_SHAPES = re.compile(r"\b(?:sk-[\w-]{8,}|gh[a-z]_\w{8,}|github_pat_\w{8,}|eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*)")
_PLAIN_SHAPES = (
    (re.compile(r"\b(bearer\s+)(?=[\w.~+/=-]{12})[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    (_SHAPES, MASK),
)
"""What is no prose: a bearer token that is none by name only, URL credentials, well-known shapes."""

_MASKS = (
    (re.compile(r"\b((?:authorization|cookie)\s*:\s*)[^\s\"'][^\r\n\"']*", re.IGNORECASE), rf"\1{MASK}"),
    (_BEARER, rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    (_SHAPES, MASK),
    (re.compile(rf"(?is)(?<![\w.-]){_NAMED_SO}([\w.-]++[\"']?\s*[=:]\s*){_VALUE}"), rf"\1{MASK}"),
    (re.compile(rf"(?is)(?<![\w-])(-{{1,2}}{_NAMED_SO}[\w.-]++\s+)(?!--){_VALUE}"), rf"\1{MASK}"),
)
"""In this order: headers, bearer tokens, URL credentials, well-known shapes, NAME=value, --option value."""


def is_secret_name(name: str) -> bool:
    """Does the name of a variable, option or header promise a secret? MONKEY does: rather too much masked."""
    return _SECRET_NAME.search(name) is not None


def holds_secret(text: str) -> bool:
    """Does the text carry something that is a credential by its very shape, whatever it is called?"""
    return any(shape.search(text) for shape in (_SHAPES, _USERINFO, _BEARER))


def mask_credentials(text: str) -> str:
    """`text` with every credential masked that shows itself by its shape alone; prose stays as it is."""
    for pattern, masked in _PLAIN_SHAPES:
        text = pattern.sub(masked, text)
    return text


def shows_secret(text: str, secrets: Collection[str]) -> bool:
    """Does the text hold a known secret, or a credential that shows itself by its shape?"""
    return mask_credentials(mask_values(text, secrets)) != text


def redact_text(text: str) -> str:
    """A command line or message without its credentials; masks rather too much than too little."""
    for pattern, masked in _MASKS:
        text = pattern.sub(masked, text)
    return text


def redact_command(argv: Iterable[str]) -> list[str]:
    """Arguments one by one, where a value may hold blanks that a flat text would not show."""
    shown: list[str] = []
    value_of_secret = False
    for part in argv:
        shown.append(MASK if value_of_secret and not part.startswith("--") else _redact_argument(part))
        value_of_secret = part.startswith("-") and "=" not in part and is_secret_name(part)
    return shown


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """`text` with every known secret value masked; longest first, since one may hold another."""
    known = sorted({value for value in secrets if len(value) >= _KNOWN_VALUE_CHARS}, key=len, reverse=True)
    for value in known:
        text = text.replace(value, MASK)
    return text


def mask_tree(value: Any, secrets: Collection[str]) -> Any:  # noqa: ANN401  # any JSON
    """The JSON value with known secrets, and what is one by its shape, masked in every string of it."""
    if isinstance(value, str):
        return mask_credentials(mask_values(value, secrets))
    if isinstance(value, dict):
        return {key: mask_tree(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [mask_tree(item, secrets) for item in value]
    return value


def _redact_argument(part: str) -> str:
    name, separator, _ = part.partition("=")
    if separator and " " not in name and is_secret_name(name):
        return f"{name}={MASK}"
    return redact_text(part)
