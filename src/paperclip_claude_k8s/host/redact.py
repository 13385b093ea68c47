"""Masks secrets in text for people: by the name before them, by their shape, and by their known value.

`mask_values` masks known values only. `mask_credentials` masks credentials that are recognizable by their
shape and leaves prose alone. `redact_text` is for command lines and errors: it masks too much rather than too
little.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

MASK = "***REDACTED***"

_NAME_PARTS = "key|token|secret|password|passwd|authorization|cookie"
_SECRET_NAME = re.compile(_NAME_PARTS, re.IGNORECASE)

_KNOWN_VALUE_CHARS = 8
"""Shorter values occur in ordinary text, so they are not masked by value."""

_SECRET_NAME_AHEAD = rf"(?=[\w.-]*?(?:{_NAME_PARTS}))"
"""Looks ahead within one name, and only once, so that long names without a secret word take linear time."""

_VALUE = r"""(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'[^']*(?:'|\Z)|\\.?|[^\s"'\\])+"""
"""One shell word of quoted and bare pieces. An unclosed quote reaches to the end of the text."""

_BEARER = re.compile(r"\b(bearer\s+)[^\s\"',;]+", re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^\s/@\"']+(?=@)")
_SHAPES = re.compile(r"\b(?:sk-[\w-]{8,}|gh[a-z]_\w{8,}|github_pat_\w{8,}|eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*)")
_PLAIN_SHAPES = (
    (re.compile(r"\b(bearer\s+)(?=[\w.~+/=-]{12})[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    (_SHAPES, MASK),
)
"""Credentials that cannot be prose: bearer tokens of 12 characters or more, URL credentials, known shapes."""

_MASKS = (
    (re.compile(r"\b((?:authorization|cookie)\s*:\s*)[^\s\"'][^\r\n\"']*", re.IGNORECASE), rf"\1{MASK}"),
    (_BEARER, rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    (_SHAPES, MASK),
    (re.compile(rf"(?is)(?<![\w.-]){_SECRET_NAME_AHEAD}([\w.-]++[\"']?\s*[=:]\s*){_VALUE}"), rf"\1{MASK}"),
    (re.compile(rf"(?is)(?<![\w-])(-{{1,2}}{_SECRET_NAME_AHEAD}[\w.-]++\s+)(?!--){_VALUE}"), rf"\1{MASK}"),
)
"""In this order: headers, bearer tokens, URL credentials, well-known shapes, NAME=value, --option value."""


def is_secret_name(name: str) -> bool:
    """Return whether a variable, option or header of this name holds a secret; MONKEY counts too (KEY)."""
    return _SECRET_NAME.search(name) is not None


def holds_secret(text: str) -> bool:
    """Return whether the text contains a credential that is recognizable by its shape, whatever its name."""
    return any(shape.search(text) for shape in (_SHAPES, _USERINFO, _BEARER))


def mask_credentials(text: str) -> str:
    """Return `text` with every credential masked that is recognizable by its shape; prose stays as it is."""
    for pattern, masked in _PLAIN_SHAPES:
        text = pattern.sub(masked, text)
    return text


def shows_secret(text: str, secrets: Collection[str]) -> bool:
    """Return whether the text contains a known secret or a credential recognizable by its shape."""
    return mask_credentials(mask_values(text, secrets)) != text


def redact_text(text: str) -> str:
    """Return a command line or message without credentials; masks too much rather than too little."""
    for pattern, masked in _MASKS:
        text = pattern.sub(masked, text)
    return text


def redact_command(argv: Iterable[str]) -> list[str]:
    """Return arguments without credentials; one by one, because a value may contain spaces."""
    shown: list[str] = []
    value_of_secret = False
    for part in argv:
        shown.append(MASK if value_of_secret and not part.startswith("--") else _redact_argument(part))
        value_of_secret = part.startswith("-") and "=" not in part and is_secret_name(part)
    return shown


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with known secrets masked; longest first, because one may contain another."""
    known = sorted({value for value in secrets if len(value) >= _KNOWN_VALUE_CHARS}, key=len, reverse=True)
    for value in known:
        text = text.replace(value, MASK)
    return text


def mask_tree(value: Any, secrets: Collection[str]) -> Any:  # noqa: ANN401  # any JSON
    """Return JSON with known secrets and credentials recognizable by shape masked in all its strings."""
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
