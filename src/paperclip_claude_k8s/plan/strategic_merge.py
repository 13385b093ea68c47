"""Strategic merge, as `kubectl patch` does it for Pods: maps and named items merge, the rest is replaced."""

from collections.abc import Mapping, Sequence
from typing import Any

from paperclip_claude_k8s.host.pod_template_reader import MERGE_KEYS

DIRECTIVE = "$patch"
_CHOICES = {"env": frozenset({"value", "valueFrom"})}
"""Keys of which an item may have one only: a new one takes the old one's place."""
_NO_SOURCE = frozenset({"name"})


def merge(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A new map; `null` removes a key, `$patch: replace` replaces a map. Neither argument is changed."""
    if patch.get(DIRECTIVE) == "replace":
        return {key: _plain(value) for key, value in patch.items() if not key.startswith("$")}
    merged = dict(original)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(key, original.get(key), value)
    return merged


def _merged(key: str, old: Any, new: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(new, Mapping):
        if new.get(DIRECTIVE) == "delete":
            return {}
        return merge(old if isinstance(old, Mapping) else {}, new)
    if isinstance(new, (list, tuple)):
        name = MERGE_KEYS.get(key)
        return list(new) if name is None else _merge_items(key, name, old or (), new)
    return new


def _merge_items(
    field: str, name: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Items of the same name in their old place, new ones behind them."""
    replaces = any(item.get(DIRECTIVE) == "replace" and name not in item for item in new)
    items = {} if replaces else {item[name]: dict(item) for item in old}
    for item in new:
        if name not in item:
            continue
        if item.get(DIRECTIVE) == "delete":
            items.pop(item[name], None)
        else:
            items[item[name]] = merge(_chosen(field, items.get(item[name], {}), item), item)
    return list(items.values())


def _chosen(field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old item without what the new one names another kind of."""
    kinds = _CHOICES.get(field)
    if field == "volumes":
        kinds = frozenset({*old, *new}) - _NO_SOURCE
    if kinds is None or not kinds & set(new):
        return dict(old)
    return {key: value for key, value in old.items() if key not in kinds or key in new}


def _plain(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Without directives."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if not key.startswith("$")}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
