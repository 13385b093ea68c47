"""Validation of new and changed objects, with the server's messages for what the adapter can meet."""

import base64
import binascii
from collections.abc import Iterator

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.claim_controller import (
    changed_spec_faults,
    claim_faults,
    prepare_claim,
)
from paperclip_claude_k8s.devcluster.kinds import CLAIMS, JOBS, PODS, SECRETS, Kind, Object
from paperclip_claude_k8s.devcluster.pod_validation import pod_faults
from paperclip_claude_k8s.devcluster.shapes import decoded_object
from paperclip_claude_k8s.devcluster.valid_names import (
    is_label_key,
    is_label_value,
    is_secret_key,
    is_subdomain,
)

MAX_SECRET_BYTES = 1024 * 1024
SERVER_FIELDS = ("deletionTimestamp", "deletionGracePeriodSeconds")
"""Fields of the metadata that only the server sets."""
_COUNTS = ("parallelism", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
"""Fields of a Job's spec that must not be negative."""


def admitted_new(kind: Kind, namespace: str, obj: object) -> Object:
    """A copy of a new object as the server stores it. Raises a 400 or 422 `Problem` if it is invalid."""
    copy = admitted(kind, namespace, obj)
    for name in SERVER_FIELDS:
        copy["metadata"].pop(name, None)
    if kind == CLAIMS:
        prepare_claim(copy)
    if kind in {JOBS, PODS}:
        copy["status"] = {"phase": "Pending"} if kind == PODS else {}
    return copy


def admitted(kind: Kind, namespace: str, obj: object) -> Object:
    """A copy of a new or changed object as the server stores it.

    Raises a 400 or 422 `Problem` if it is invalid.
    """
    copy = decoded_object(kind, obj)
    if kind.namespaced:
        copy["metadata"]["namespace"] = namespace
    _check(kind, copy, _metadata_faults(copy["metadata"]))
    if kind == SECRETS:
        _check(kind, copy, _secret_faults(copy))
        _fold_string_data(kind, copy)
    if kind == CLAIMS:
        _check(kind, copy, claim_faults(copy.get("spec", {})))
    if kind == PODS:
        _check(kind, copy, pod_faults(copy.get("spec", {}), "spec"))
        copy.setdefault("status", {})
    if kind == JOBS:
        _check(kind, copy, _job_faults(copy.get("spec", {})))
        copy.setdefault("status", {})
    return copy


def check_change(kind: Kind, before: Object, after: Object) -> None:
    """Raise a 422 `Problem` if a field was changed that cannot be changed."""
    if kind == CLAIMS:
        _check(kind, after, changed_spec_faults(before.get("spec", {}), after.get("spec", {})))


def _check(kind: Kind, obj: Object, faults: Iterator[str]) -> None:
    """Raise a 422 `Problem` for the first fault: a field's path and what is wrong with it."""
    for fault in faults:
        raise problems.invalid(kind.kind, obj["metadata"].get("name", ""), fault)


def _metadata_faults(meta: Object) -> Iterator[str]:
    name = meta.get("name")
    if not name:
        yield "metadata.name: Required value: name or generateName is required"
    elif not is_subdomain(name):
        why = f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must'
        yield f"{why} consist of lower case alphanumeric characters, '-' or '.'"
    for key, value in meta.get("labels", {}).items():
        if not is_label_key(key):
            yield f'metadata.labels: Invalid value: "{key}": a valid label key must be a qualified name'
        if not is_label_value(value):
            why = f'metadata.labels: Invalid value: "{value}": a valid label must be an empty'
            yield f"{why} string or consist of alphanumeric characters ({key})"
    for index, owner in enumerate(meta.get("ownerReferences", [])):
        if not owner.get("uid"):
            yield f"metadata.ownerReferences[{index}].uid: Required value"


def _secret_faults(secret: Object) -> Iterator[str]:
    for key in {**secret.get("data", {}), **secret.get("stringData", {})}:
        if not is_secret_key(key):
            yield f'data[{key}]: Invalid value: "{key}": a valid config key must consist of alphanumeric'
    for key, value in secret.get("data", {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error):
            yield f"data[{key}]: Invalid value: illegal base64 data"


def _fold_string_data(kind: Kind, obj: Object) -> None:
    """Move `stringData` into `data`, and check the size."""
    data = obj.setdefault("data", {})
    for key, value in obj.pop("stringData", {}).items():
        data[key] = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
    if sum(len(value) * 3 // 4 for value in data.values()) > MAX_SECRET_BYTES:
        why = "data: Too long: must have at most 1048576 bytes"
        raise problems.invalid(kind.kind, obj["metadata"]["name"], why)


def _job_faults(spec: Object) -> Iterator[str]:
    for name in _COUNTS:
        if spec.get(name, 0) < 0:
            yield f"spec.{name}: Invalid value: {spec[name]}: must be greater than or equal to 0"
    pod = spec.get("template", {}).get("spec", {})
    yield from pod_faults(pod, "spec.template.spec")
    policy = pod.get("restartPolicy", "Always")
    if policy not in {"Never", "OnFailure"}:
        why = f'spec.template.spec.restartPolicy: Unsupported value: "{policy}"'
        yield f'{why}: supported values: "OnFailure", "Never"'
