"""Parses the YAML of a kubeconfig with limits, because a short text can describe billions of values.

Aliases and tags are refused, and every scalar is a text, a boolean or null: a kubeconfig needs nothing else,
and YAML's numbers and times take long to parse.
"""

import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import BaseResolver

MAX_DEPTH = 16
"""Largest number of nested levels; the deepest ordinary value, an argument of a plugin, has six."""
MAX_EVENTS = 50_000
"""Largest number of parser events: each scalar, and each beginning and end of a list or mapping. A kubeconfig
with a hundred clusters has fewer than 10,000."""

if TYPE_CHECKING:
    _Parser = yaml.CBaseLoader
else:
    try:
        from yaml.cyaml import CParser

        class _Parser(CParser):
            """libyaml's parser."""
    except ImportError:  # PyYAML without libyaml, on platforms without a wheel
        _Parser = yaml.BaseLoader


class KubeconfigInvalid(ValueError):
    """A kubeconfig cannot be used. The text is a phrase that follows the file's name and quotes no values."""


class _Loader(_Parser, SafeConstructor, BaseResolver):
    """Reads texts, booleans and null."""

    def __init__(self, stream: bytes) -> None:
        _Parser.__init__(self, stream)
        SafeConstructor.__init__(self)
        BaseResolver.__init__(self)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)\Z"),
    list("yYnNtTfFoO"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)


def parse_kubeconfig(text: bytes) -> dict[str, Any]:
    """The mapping that a kubeconfig consists of.

    Raises:
        KubeconfigInvalid: it is not YAML, or not a mapping, or uses what is refused.
    """
    try:
        _check_events(text)
        loaded = yaml.load(text, _Loader)  # noqa: S506  # reads texts, booleans and null only
    except (yaml.YAMLError, UnicodeError):
        raise KubeconfigInvalid("is not YAML") from None
    if loaded is None:  # an empty file, which kubectl accepts too
        return {}
    if not isinstance(loaded, dict):
        raise KubeconfigInvalid("is not a kubeconfig: it has no clusters, users and contexts")
    return loaded


def _check_events(text: bytes) -> None:
    """Check aliases, tags, depth and number of values while the text is parsed, before anything is built."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise KubeconfigInvalid("uses YAML aliases, which are not supported; write the values out")
        if getattr(event, "tag", None) is not None:
            raise KubeconfigInvalid("uses YAML tags, which are not supported")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise KubeconfigInvalid("is nested too deeply for a kubeconfig")
        if number > MAX_EVENTS:
            raise KubeconfigInvalid("has too many values for a kubeconfig")
