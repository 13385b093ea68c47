"""Keys of a config that are no settings, with the settings that their authors may have meant."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic.alias_generators import to_snake

from paperclip_claude_k8s.host.config import AdapterConfig, documented_key, unknown_keys

MAX_SUGGESTED = 50
"""Keys for which a suggestion is looked for: a config may have thousands of unknown keys."""
MAX_KEY_CHARS = 64
"""Characters of a key that are compared; no setting has more."""


def describe_unknown_keys(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The unknown keys, sorted, with a hint if a key resembles a setting: `modle (did you mean model?)`."""
    unknown = unknown_keys(given)
    return (*map(_described, unknown[:MAX_SUGGESTED]), *unknown[MAX_SUGGESTED:])


def _described(key: str) -> str:
    known = {name: documented_key(field.alias or name) for name, field in AdapterConfig.model_fields.items()}
    found = get_close_matches(to_snake(key[:MAX_KEY_CHARS]), known, n=1, cutoff=0.75)
    return f"{key} (did you mean {known[found[0]]}?)" if found else key
