"""Reads `podTemplate`: a whole Pod template or a Pod spec alone, as an object or its JSON text."""

import json
from collections.abc import Mapping

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.input_bounds import find_excess

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists that a strategic merge merges item by item, with the field that identifies an item."""

_MAPS_WITH_FREE_KEYS = frozenset(
    {"annotations", "labels", "limits", "matchLabels", "nodeSelector", "overhead", "requests"}
)
"""Fields whose value is a map with keys that users choose: a label named `env` is no list of variables."""

_EXPECTED = "a Pod template: an object with metadata and spec, a Pod spec alone, or its JSON text"
_TEMPLATE_KEYS = frozenset({"metadata", "spec"})
_IGNORED_KEYS = frozenset({"apiVersion", "kind", "template"})
"""Other keys of a whole manifest; they are accepted and ignored."""


def read_pod_template(value: object) -> JsonMap:
    """Return the template with `metadata` and `spec` only; `{"template": ...}` is unwrapped.

    Raises:
        ValueError: the text says what is expected. It quotes no value, because that may be a credential.
    """
    given = _read_object(value, _EXPECTED)
    if set(given) == {"template"}:
        given = _read_object(given["template"], _EXPECTED)
    template = given if _TEMPLATE_KEYS & set(given) else {"spec": given}
    unknown = sorted(set(template) - _TEMPLATE_KEYS - _IGNORED_KEYS)
    if unknown:
        raise ValueError(f"{_EXPECTED} (not {neutral(', '.join(unknown[:5])[:200])})")
    read = {
        part: _read_object(template[part], f"{part} as an object")
        for part in sorted(_TEMPLATE_KEYS & set(template))
    }
    for part in ("labels", "annotations"):
        if not isinstance(read.get("metadata", {}).get(part) or {}, Mapping):
            raise ValueError(f"metadata.{part} as an object")  # noqa: TRY004
    _check_lists(read.get("spec", {}), "spec")
    return read


def _read_object(value: object, expected: str) -> JsonMap:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(expected) from None
        if excess := find_excess(value):
            raise ValueError(f"{expected}; its JSON text {excess}")
    if not isinstance(value, Mapping):
        raise ValueError(expected)  # noqa: TRY004  # pydantic reads ValueError, not TypeError
    return {str(key): item for key, item in value.items()}


def _check_lists(part: Mapping[str, object], path: str) -> None:
    """Raise ValueError for a list that cannot be merged: an item lacks the field that identifies it."""
    for name, value in part.items():
        key, path_of_value = MERGE_KEYS.get(name), f"{path}.{neutral(str(name)[:80])}"
        if key is not None and value is not None:
            _check_items(value, key, path_of_value)
        elif isinstance(value, Mapping) and name not in _MAPS_WITH_FREE_KEYS:
            _check_lists(value, path_of_value)


def _check_items(items: object, key: str, path: str) -> None:
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"{path} as a list")  # noqa: TRY004
    for item in items:
        if not isinstance(item, Mapping):
            raise ValueError(f"{path} as a list of objects")  # noqa: TRY004
        if key not in item and "$patch" not in item:
            raise ValueError(f"{path} with {key} in each item")
        if not isinstance(item.get(key, ""), (str, int)):
            raise ValueError(f"{path} with a text or number as {key} in each item")  # noqa: TRY004
        _check_lists(item, path)
