"""Faults in a Pod's spec for which the API server or the kubelet of a real cluster would refuse the Pod."""

from collections.abc import Iterator

from paperclip_claude_k8s.devcluster.kinds import Object
from paperclip_claude_k8s.devcluster.valid_names import (
    is_env_name,
    is_label,
    is_path_below,
    is_quantity,
    is_secret_key,
    is_subdomain,
)

_LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
_PATH = "must be a relative path without '..'"


def pod_faults(spec: Object, where: str) -> Iterator[str]:
    """Each fault in a Pod's spec, as a text: the path of the field, and what is wrong with it.

    `where`: the path of the spec in its object. The spec has the shape `shapes.POD_FIELDS`.
    """
    if not spec.get("containers"):
        yield f"{where}.containers: Required value"
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        yield f"{where}.terminationGracePeriodSeconds: Invalid value: must be greater than or equal to 0"
    volume_names: set[str] = set()
    for index, volume in enumerate(spec.get("volumes", [])):
        yield from _name_faults(volume, volume_names, f"{where}.volumes[{index}]")
        yield from _volume_faults(volume, f"{where}.volumes[{index}]")
    container_names: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field, [])):
            path = f"{where}.{field}[{index}]"
            yield from _name_faults(container, container_names, path)
            yield from _container_faults(container, path)
            yield from _mount_faults(container, volume_names, path)


def _name_faults(obj: Object, seen: set[str], path: str) -> Iterator[str]:
    """Faults in the object's name, which must not be in `seen`. A valid name is added to `seen`."""
    name = obj.get("name")
    if not name:
        yield f"{path}.name: Required value"
    elif not is_label(name):
        yield f'{path}.name: Invalid value: "{name}": {_LABEL}'
    elif name in seen:
        yield f'{path}.name: Duplicate value: "{name}"'
    else:
        seen.add(name)


def _volume_faults(volume: Object, path: str) -> Iterator[str]:
    if "hostPath" in volume:
        yield f"{path}.hostPath: hostPath volumes are not offered here"
    claim = volume.get("persistentVolumeClaim")
    if claim is not None and not is_subdomain(claim.get("claimName", "")):
        yield f'{path}.persistentVolumeClaim.claimName: Invalid value: "{claim.get("claimName", "")}"'
    secret = volume.get("secret", {})
    modes = [secret.get("defaultMode", 0)]
    for index, item in enumerate(secret.get("items", [])):
        modes.append(item.get("mode", 0))
        if not is_secret_key(item.get("key", "")):
            yield f"{path}.secret.items[{index}].key: Required value"
        if not item.get("path") or not is_path_below(item["path"]):
            yield f'{path}.secret.items[{index}].path: Invalid value: "{item.get("path", "")}": {_PATH}'
    if not all(0 <= mode <= 0o777 for mode in modes):
        yield f"{path}.secret: Invalid value: a mode must be between 0 and 0777 octal, both inclusive"


def _container_faults(container: Object, path: str) -> Iterator[str]:
    if not container.get("image"):
        yield f"{path}.image: Required value"
    if "\0" in container.get("workingDir", ""):
        yield f"{path}.workingDir: Invalid value: must not contain a null byte"
    for index, entry in enumerate(container.get("env", [])):
        yield from _env_faults(entry, f"{path}.env[{index}]")
    for name, amount in container.get("resources", {}).get("requests", {}).items():
        if not is_quantity(amount):
            yield f'{path}.resources.requests[{name}]: Invalid value: "{amount}": must be a quantity'


def _env_faults(entry: Object, path: str) -> Iterator[str]:
    name = entry.get("name")
    if not name:
        yield f"{path}.name: Required value"
    elif not is_env_name(name):
        yield f'{path}.name: Invalid value: "{name}": a valid environment variable name must consist of'
    key = entry.get("valueFrom", {}).get("secretKeyRef")
    if key is not None and not is_secret_key(key.get("key", "")):
        yield f"{path}.valueFrom.secretKeyRef.key: Required value"


def _mount_faults(container: Object, volume_names: set[str], path: str) -> Iterator[str]:
    for index, mount in enumerate(container.get("volumeMounts", [])):
        at = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volume_names:
            yield f'{at}.name: Not found: "{mount.get("name", "")}"'
        if not mount.get("mountPath") or "\0" in mount["mountPath"]:
            yield f"{at}.mountPath: Required value"
        if not is_path_below(mount.get("subPath", "")):
            yield f'{at}.subPath: Invalid value: "{mount["subPath"]}": {_PATH}'
