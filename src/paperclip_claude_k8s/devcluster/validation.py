"""Validation of new objects: names, labels, Secret size and required fields, with the server's messages."""

import base64
import copy
import re

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, SECRETS, Kind, Object

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_LABEL = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
MAX_SECRET_BYTES = 1024 * 1024


def admitted(kind: Kind, namespace: str, obj: Object) -> Object:
    """A copy of the object as the server stores it. Raises a 422 `Problem` if the object is invalid."""
    obj = copy.deepcopy(obj)
    meta = obj.setdefault("metadata", {})
    if kind.namespaced:
        meta["namespace"] = namespace
    _check_meta(kind, meta)
    if kind == SECRETS:
        _fold_string_data(kind, obj)
    if kind in {JOBS, PODS}:
        owner = obj.get("spec", {}).get("template", {}) if kind == JOBS else obj
        _check_pod_spec(kind, meta["name"], owner.get("spec", {}))
        obj.setdefault("status", {})
    return obj


def _check_meta(kind: Kind, meta: Object) -> None:
    name = meta.get("name")
    if not name:
        why = "metadata.name: Required value: name or generateName is required"
        raise problems.invalid(kind.kind, "", why)
    if not _NAME.match(name) or len(name) > 253:
        why = f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of'
        raise problems.invalid(kind.kind, name, f"{why} lower case alphanumeric characters, '-' or '.'")
    for key, value in (meta.get("labels") or {}).items():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL.match(value):
            why = f'metadata.labels: Invalid value: "{value}": a valid label must be an empty string or'
            raise problems.invalid(kind.kind, name, f"{why} consist of alphanumeric characters ({key})")


def _fold_string_data(kind: Kind, obj: Object) -> None:
    """Move `stringData` into `data`, and check the size."""
    data = obj.setdefault("data", {})
    for key, value in (obj.pop("stringData", None) or {}).items():
        data[key] = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
    if sum(len(value) * 3 // 4 for value in data.values()) > MAX_SECRET_BYTES:
        why = "data: Too long: must have at most 1048576 bytes"
        raise problems.invalid(kind.kind, obj["metadata"]["name"], why)


def _check_pod_spec(kind: Kind, name: str, spec: Object) -> None:
    where = "spec.template.spec" if kind == JOBS else "spec"
    if not spec.get("containers"):
        raise problems.invalid(kind.kind, name, f"{where}.containers: Required value")
    if kind == JOBS and spec.get("restartPolicy") not in {"Never", "OnFailure"}:
        why = f'{where}.restartPolicy: Unsupported value: "{spec.get("restartPolicy", "Always")}"'
        raise problems.invalid(kind.kind, name, f'{why}: supported values: "OnFailure", "Never"')
    for container in spec["containers"]:
        if not container.get("name") or not container.get("image"):
            raise problems.invalid(kind.kind, name, f"{where}.containers[0].image: Required value")
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        raise problems.invalid(kind.kind, name, f"{where}.volumes: hostPath volumes are not offered here")
