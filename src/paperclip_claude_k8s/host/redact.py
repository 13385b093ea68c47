"""Masks secrets in text for people. A secret is recognized by the name before it, its shape, or its value.

`mask_values` masks known values only. `mask_credentials` masks credentials that are recognizable by their
shape and leaves prose alone. `redact_text` is for command lines and errors: it masks too much rather than too
little.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

MASK = "***REDACTED***"

_SENSITIVE_WORDS = "key|token|secret|password|passwd|authorization|cookie"
_SECRET_NAME = re.compile(_SENSITIVE_WORDS, re.IGNORECASE)

_MIN_KNOWN_VALUE_CHARS = 8
"""Shorter values occur in ordinary text, so they are not masked by value."""

_SECRET_NAME_AHEAD = rf"(?=[\w.-]*?(?:{_SENSITIVE_WORDS}))"
"""Lookahead: the name that begins here contains a secret word. Tried once per name, for linear time."""

_WORD = r"""(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'[^']*(?:'|\Z)|\\.?|[^\s"'\\])+"""
"""One shell word of quoted and bare pieces. An unclosed quote reaches to the end of the text."""

_BEARER = re.compile(r"\b(bearer\s+)[^\s\"',;]+", re.IGNORECASE)
_USERINFO = re.compile(r"(://)[^\s/@\"']+(?=@)")
_KNOWN_SHAPES = re.compile(
    r"\b(?:sk-[\w-]{8,}|gh[a-z]_\w{8,}|github_pat_\w{8,}|eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*)"
)
"""API keys, tokens of GitHub, and JSON web tokens."""

_PROSE_MASKS = (
    (re.compile(r"\b(bearer\s+)(?=[\w.~+/=-]{12})[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    (_KNOWN_SHAPES, MASK),
)
"""Pattern and replacement for what cannot be prose.

In this order: bearer tokens of 12 characters or more, URL credentials, well-known shapes.
"""

_COMMAND_MASKS = (
    (re.compile(r"\b((?:authorization|cookie)\s*:\s*)[^\s\"'][^\r\n\"']*", re.IGNORECASE), rf"\1{MASK}"),
    (_BEARER, rf"\1{MASK}"),
    (_USERINFO, rf"\1{MASK}"),
    (_KNOWN_SHAPES, MASK),
    (re.compile(rf"(?is)(?<![\w.-]){_SECRET_NAME_AHEAD}([\w.-]++[\"']?\s*[=:]\s*){_WORD}"), rf"\1{MASK}"),
    (re.compile(rf"(?is)(?<![\w-])(-{{1,2}}{_SECRET_NAME_AHEAD}[\w.-]++\s+)(?!--){_WORD}"), rf"\1{MASK}"),
)
"""Pattern and replacement for command lines and errors.

In this order: headers, bearer tokens, URL credentials, well-known shapes, NAME=value, --option value.
"""


def is_secret_name(name: str) -> bool:
    """Return whether a variable, option or header of this name counts as secret.

    It may err on the safe side: `MONKEY` counts too, because it contains KEY.
    """
    return _SECRET_NAME.search(name) is not None


def looks_like_credential(text: str) -> bool:
    """Return whether a value contains a credential that is recognizable by its shape, or any bearer token."""
    return any(shape.search(text) for shape in (_KNOWN_SHAPES, _USERINFO, _BEARER))


def mask_credentials(text: str) -> str:
    """Return `text` with the credentials masked that are recognizable by their shape; prose is unchanged."""
    for pattern, masked in _PROSE_MASKS:
        text = pattern.sub(masked, text)
    return text


def would_be_masked(text: str, secrets: Collection[str]) -> bool:
    """Return whether the text contains a known secret or a credential recognizable by its shape."""
    return mask_credentials(mask_values(text, secrets)) != text


def redact_text(text: str) -> str:
    """Return a command line or message with credentials masked: rather too much than too little."""
    for pattern, masked in _COMMAND_MASKS:
        text = pattern.sub(masked, text)
    return text


def redact_command(argv: Iterable[str]) -> list[str]:
    """Return arguments with credentials masked.

    Each is examined separately, because a value may contain spaces. The argument after an option with a
    secret name is masked as a whole.
    """
    shown: list[str] = []
    next_is_secret = False
    for part in argv:
        shown.append(MASK if next_is_secret and not part.startswith("--") else _redact_argument(part))
        next_is_secret = part.startswith("-") and "=" not in part and is_secret_name(part)
    return shown


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with known secrets masked, except short ones.

    The longest is masked first, because it may contain another one.
    """
    known = sorted(
        {value for value in secrets if len(value) >= _MIN_KNOWN_VALUE_CHARS}, key=len, reverse=True
    )
    for value in known:
        text = text.replace(value, MASK)
    return text


def mask_tree(value: Any, secrets: Collection[str]) -> Any:  # noqa: ANN401  # any JSON
    """Return JSON with known secrets and credentials recognizable by shape masked in all string values."""
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
