"""Strategic merge patch for Pods, as in `kubectl patch`.

Maps merge by key. The items of a list merge by their merge key (`MERGE_KEYS`: `name`, or `mountPath` for
mounts). Lists without a merge key, and all other values, are replaced. `null` removes a key. `$patch: delete`
removes an item of a list, or empties a map. `$patch: replace` replaces a map or list as a whole. Other `$`
directives have no effect.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from paperclip_claude_k8s.host.pod_template_reader import MERGE_KEYS

DIRECTIVE = "$patch"
_EXCLUSIVE_KEYS = {"env": frozenset({"value", "valueFrom"})}
"""Field → keys that exclude each other in its items: setting one key removes the others."""
_KEYS_BESIDE_SOURCE = frozenset({"name"})
"""Keys of a volume that are not its source. Each other key is a kind of source, of which a volume has one."""


def merge(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patched map, a new one; neither argument is changed."""
    if patch.get(DIRECTIVE) == "replace":
        return {key: _without_directives(value) for key, value in patch.items() if not key.startswith("$")}
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
        merge_key = MERGE_KEYS.get(key)
        return list(new) if merge_key is None else _merge_items(key, merge_key, old or (), new)
    return new


def _merge_items(
    field: str, merge_key: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The merged list: old items keep their positions, new items follow."""
    replaces = any(item.get(DIRECTIVE) == "replace" and merge_key not in item for item in new)
    items = {} if replaces else {item[merge_key]: dict(item) for item in old}
    for item in new:
        if merge_key not in item:
            continue
        key = item[merge_key]
        if item.get(DIRECTIVE) == "delete":
            items.pop(key, None)
        else:
            items[key] = merge(_without_replaced_keys(field, items.get(key, {}), item), item)
    return list(items.values())


def _without_replaced_keys(field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old item without the keys that exclude a key of the new item."""
    exclusive = _EXCLUSIVE_KEYS.get(field, frozenset())
    if field == "volumes":  # each of its keys is a source, except a few
        exclusive = frozenset({*old, *new}) - _KEYS_BESIDE_SOURCE
    if not exclusive & set(new):
        return dict(old)
    return {key: value for key, value in old.items() if key not in exclusive or key in new}


def _without_directives(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """The value without directives, and without list items that a directive deletes or that are only one."""
    if isinstance(value, Mapping):
        return {key: _without_directives(item) for key, item in value.items() if not key.startswith("$")}
    if not isinstance(value, (list, tuple)):
        return value
    return [_without_directives(item) for item in value if not _is_directive(item)]


def _is_directive(item: object) -> bool:
    if not isinstance(item, Mapping) or DIRECTIVE not in item:
        return False
    return item[DIRECTIVE] == "delete" or all(key.startswith("$") for key in item)
