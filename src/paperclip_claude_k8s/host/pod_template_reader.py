"""`podTemplate` as people write it: a whole template or a bare Pod spec, an object or its JSON."""

import json
from collections.abc import Mapping

from paperclip_claude_k8s.host.context import JsonMap

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
"""Lists whose items a strategic merge tells apart, and by what (Kubernetes' API reference)."""

_FREE = frozenset({"annotations", "labels", "limits", "matchLabels", "nodeSelector", "overhead", "requests"})
"""Maps whose keys people choose: a label called env is no list of variables."""

_EXPECTED = "a Pod template: an object with metadata and spec, a Pod spec alone, or its JSON text"
_TOP = frozenset({"metadata", "spec"})
_NOT_OURS = frozenset({"apiVersion", "kind", "template"})
"""What a whole manifest has beside these; `template` alone holds what is wanted."""


def read_pod_template(value: object) -> JsonMap:
    """The template with `metadata` and `spec` only.

    Raises:
        ValueError: says what is expected; nothing is quoted, since it may hold credentials.
    """
    given = _object(value, _EXPECTED)
    if set(given) == {"template"}:
        given = _object(given["template"], _EXPECTED)
    template = given if _TOP & set(given) else {"spec": given}
    strangers = sorted(set(template) - _TOP - _NOT_OURS)
    if strangers:
        raise ValueError(f"{_EXPECTED} (not {', '.join(strangers)})")
    read = {part: _object(template[part], f"{part} as an object") for part in sorted(_TOP & set(template))}
    _check(read.get("spec", {}), "spec")
    return read


def _object(value: object, expected: str) -> JsonMap:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(expected) from None
    if not isinstance(value, Mapping):
        raise ValueError(expected)  # noqa: TRY004  # pydantic reads ValueError, not TypeError
    return {str(key): item for key, item in value.items()}


def _check(part: Mapping[str, object], where: str) -> None:
    """Items that cannot be told apart cannot be merged."""
    for name, value in part.items():
        key, here = MERGE_KEYS.get(name), f"{where}.{name}"
        if key is not None and value is not None:
            _check_items(value, key, here)
        elif isinstance(value, Mapping) and name not in _FREE:
            _check(value, here)


def _check_items(items: object, key: str, where: str) -> None:
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"{where} as a list")  # noqa: TRY004
    for item in items:
        if not isinstance(item, Mapping):
            raise ValueError(f"{where} as a list of objects")  # noqa: TRY004
        if key not in item and "$patch" not in item:
            raise ValueError(f"{where} with {key} in each item")
        _check(item, where)
