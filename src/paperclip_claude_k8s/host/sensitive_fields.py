"""Finds the fields of a Pod template that give access to more than the Pod.

They concern the node, other objects, root, and rights in the cluster. A field of the policy governs each of
them. The log of a run names those that are in use.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MAPS_WITH_FREE_KEYS = frozenset({"labels", "limits", "matchLabels", "nodeSelector", "overhead", "requests"})
"""Fields whose value is a map with keys that users choose: a label named `privileged` is not a field."""
_FLAGS = {
    # field that matters unless it is false, 0 or empty → field of the policy
    "allowPrivilegeEscalation": "rootUser",
    "automountServiceAccountToken": "serviceAccountTokens",
    "hostIPC": "hostNamespaces",
    "hostNetwork": "hostNamespaces",
    "hostPID": "hostNamespaces",
    "hostPort": "hostNamespaces",
    "hostProcess": "privileged",
    "podCertificate": "serviceAccountTokens",
    "privileged": "privileged",
    "seLinuxOptions": "privileged",
    "serviceAccountToken": "serviceAccountTokens",
    "sysctls": "privileged",
}
_NAMES = {
    # field with a name → field of the policy
    "claimName": "claims",
    "image": "images",
    "nodeName": "nodeNames",
    "priorityClassName": "priorityClasses",
    "runtimeClassName": "runtimeClasses",
    "secretName": "secrets",
    "serviceAccount": "serviceAccounts",
    "serviceAccountName": "serviceAccounts",
}
_NAMES_IN = {
    # field, and field in it with a name → field of the policy
    ("capabilities", "add"): "capabilities",
    ("configMap", "name"): "configMaps",
    ("configMapKeyRef", "name"): "configMaps",
    ("dataSource", "name"): "claims",
    ("dataSourceRef", "name"): "claims",
    ("image", "reference"): "images",
    ("imagePullSecrets", "name"): "secrets",
    ("nodePublishSecretRef", "name"): "secrets",
    ("secret", "name"): "secrets",
    ("secretKeyRef", "name"): "secrets",
    ("secretRef", "name"): "secrets",
}
_VALUES_IN = {
    # field, and field in it → harmless values, field of the policy
    ("appArmorProfile", "type"): (frozenset({"RuntimeDefault", "Localhost"}), "privileged"),
    ("httpGet", "host"): (frozenset({""}), "hostNamespaces"),
    ("seccompProfile", "type"): (frozenset({"RuntimeDefault", "Localhost"}), "privileged"),
    ("securityContext", "procMount"): (frozenset({"", "Default"}), "privileged"),
    ("tcpSocket", "host"): (frozenset({""}), "hostNamespaces"),
}
_PARTS = {
    # field with the name of an object → field beside it that chooses a part of the object
    ("configMap", "name"): "items",
    ("configMapKeyRef", "name"): "key",
    ("secret", "name"): "items",
    ("secret", "secretName"): "items",
    ("secretKeyRef", "name"): "key",
}
_ENV_FROM = {"configMapRef": "configMaps", "secretRef": "secrets"}
"""Field of an item of `envFrom` → field of the policy."""
_SHOWN_CHARS = 80
"""Characters of a key or a name in `SensitiveField.path`. Real ones have fewer."""
_ROOT = {"runAsUser": 0, "runAsNonRoot": False}
"""Field → the value with which it allows root."""
ANY_TAINT = "*"
"""Name of a toleration without a key, which tolerates every taint."""
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class SensitiveField:
    """A field of a Pod template that gives access to more than the Pod."""

    path: str
    """Such as `spec.volumes[data].hostPath`. Items of lists are named by their name, if they have one."""
    policy_field: str
    """The field of the policy that governs it, in camelCase."""
    name: str = ""
    """The name that the policy's list of patterns must allow; "" if a flag of the policy governs it."""
    part: tuple[str, ...] = ()
    """Which part of a Secret or ConfigMap the Pod gets: its keys, or the prefix that `envFrom` puts before
    the names of all its keys. Empty: all of it, or the field names no Secret or ConfigMap."""


def sensitive_fields(template: Mapping[str, object]) -> Iterator[SensitiveField]:
    """Find the sensitive fields of a Pod template, or of a part of one, of any shape and depth."""
    waiting: list[tuple[str, str, object]] = [("", "", template)]
    while waiting:
        path, within, value = waiting.pop()
        if isinstance(value, Mapping):
            items = [
                (f"{path}.{key[:_SHOWN_CHARS]}".lstrip("."), key, inner)
                for key, inner in ((str(key), inner) for key, inner in value.items())
            ]
            for inner_path, key, inner in items:
                yield from _sensitive(inner_path, within, key, inner, value)
            if within == "envFrom":
                yield from _env_from(path, value)
            skipped = _MAPS_WITH_FREE_KEYS | _ENV_FROM.keys() if within == "envFrom" else _MAPS_WITH_FREE_KEYS
            waiting += [item for item in reversed(items) if item[1] not in skipped]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{path}[{_label(i, item)}]", within, item) for i, item in enumerate(value)][::-1]


def _label(index: int, item: object) -> object:
    name = item.get("name") if isinstance(item, Mapping) else None
    return name[:_SHOWN_CHARS] if isinstance(name, str) and name else index


def toleration_names(tolerations: object) -> Iterator[str]:
    """The keys of the taints that are tolerated."""
    for toleration in tolerations if isinstance(tolerations, (list, tuple)) else ():
        if isinstance(toleration, Mapping):
            yield str(toleration.get("key") or ANY_TAINT)


def _sensitive(
    path: str, within: str, key: str, value: object, beside: Mapping[str, object]
) -> Iterator[SensitiveField]:
    """Each way in which one field is sensitive: as a flag, by its value, or for each name that it contains.

    `beside`: the map that contains the field. `within`: the key of that map.
    """
    if within == "annotations":
        yield from _annotation(path, key, value)
        return
    yield from _labels_and_tolerations(path, key, value)
    if key in _FLAGS and value:
        yield SensitiveField(path, _FLAGS[key])
    if key in _ROOT and value == _ROOT[key]:
        yield SensitiveField(path, "rootUser")
    if within == "volumes" and key not in {"name", "$patch"} and value is not None:
        yield SensitiveField(path, "volumeTypes", key)
    yield from _by_value(path, (within, key), value)
    policy_field = _NAMES.get(key) or _NAMES_IN.get((within, key))
    names = value if isinstance(value, (list, tuple)) else (value,)
    if key == "image" and isinstance(value, Mapping):  # a volume of an image; its `reference` is examined
        return
    for name in names if policy_field else ():
        if name not in (None, ""):
            part = _part(beside.get(_PARTS.get((within, key), "")))
            yield SensitiveField(path, str(policy_field), _name_text(name), part)


def _name_text(name: object) -> str:
    """The name; an object or a list, which no API server accepts as a name, is not quoted."""
    return f"({type(name).__name__})" if isinstance(name, (Mapping, list, tuple)) else str(name)


def _annotation(path: str, key: str, value: object) -> Iterator[SensitiveField]:
    yield SensitiveField(path, "annotations", key)
    if key.startswith(_APPARMOR_ANNOTATION) and value == "unconfined":
        yield SensitiveField(path, "privileged")


def _env_from(path: str, item: Mapping[str, object]) -> Iterator[SensitiveField]:
    """The objects that an item of `envFrom` names. The item's prefix counts as the part that the Pod gets.

    So an inherited item whose prefix `podTemplate` changes counts as a new one. Its variables get other
    names, and the empty entries of `env` that should hide the host's secrets no longer hide them.
    """
    prefix = item.get("prefix")
    for key, policy_field in _ENV_FROM.items():
        source = item.get(key)
        name = source.get("name") if isinstance(source, Mapping) else None
        if name not in (None, ""):
            part = (str(prefix),) if prefix else ()
            yield SensitiveField(f"{path}.{key}.name", policy_field, _name_text(name), part)


def _labels_and_tolerations(path: str, key: str, value: object) -> Iterator[SensitiveField]:
    if path == "metadata.labels" and isinstance(value, Mapping):
        yield from (SensitiveField(f"{path}.{label}", "labels", str(label)) for label in value)
    if key == "tolerations":
        yield from (SensitiveField(path, key, name) for name in toleration_names(value))


def _part(chosen: object) -> tuple[str, ...]:
    """The keys that `key` or `items` chooses; empty: all."""
    items = chosen if isinstance(chosen, (list, tuple)) else (chosen,) if chosen else ()
    return tuple(sorted(str(item.get("key") if isinstance(item, Mapping) else item) for item in items))


def _by_value(path: str, field: tuple[str, str], value: object) -> Iterator[SensitiveField]:
    harmless, policy_field = _VALUES_IN.get(field, (frozenset(), ""))
    if policy_field and value is not None and not (isinstance(value, str) and value in harmless):
        yield SensitiveField(path, policy_field)
