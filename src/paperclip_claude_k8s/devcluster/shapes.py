"""The types of the fields that this cluster reads, for each kind of object.

A shape is a type, a list of one shape, an object of named fields, or `{"*": shape}` for an object with any
keys. Fields without a shape may hold any JSON, because nothing reads them.
"""

from typing import Any

from paperclip_claude_k8s.base.strict_json import MAX_DEPTH, is_too_deep
from paperclip_claude_k8s.devcluster.kinds import CLAIMS, EVENTS, JOBS, LEASES, PODS, SECRETS, Kind, Object
from paperclip_claude_k8s.devcluster.problems import bad_request

ANY = object
TEXTS = {"*": str}
QUANTITY = (str, int, float)
_MAX_INT = 2**63
_TYPE_NAMES: dict[Any, str] = {str: "a string", int: "an integer", bool: "a boolean", QUANTITY: "a quantity"}

METADATA = {
    "name": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "deletionGracePeriodSeconds": int,
    "labels": TEXTS,
    "annotations": TEXTS,
    "finalizers": [str],
    "ownerReferences": [{"uid": str, "name": str, "kind": str}],
}
SECRET_KEY_REF = {"name": str, "key": str, "optional": bool}
CONTAINER = {
    "name": str,
    "image": str,
    "imagePullPolicy": str,
    "restartPolicy": str,
    "command": [str],
    "args": [str],
    "workingDir": str,
    "terminationMessagePolicy": str,
    "env": [
        {
            "name": str,
            "value": str,
            "valueFrom": {"secretKeyRef": SECRET_KEY_REF, "fieldRef": {"fieldPath": str}},
        }
    ],
    "envFrom": [{"prefix": str, "secretRef": {"name": str, "optional": bool}}],
    "volumeMounts": [{"name": str, "mountPath": str, "subPath": str}],
    "resources": {"requests": {"*": QUANTITY}, "limits": {"*": QUANTITY}},
}
VOLUME = {
    "name": str,
    "persistentVolumeClaim": {"claimName": str},
    "secret": {
        "secretName": str,
        "optional": bool,
        "defaultMode": int,
        "items": [{"key": str, "path": str, "mode": int}],
    },
}
POD_FIELDS = {
    "containers": [CONTAINER],
    "initContainers": [CONTAINER],
    "volumes": [VOLUME],
    "nodeName": str,
    "nodeSelector": TEXTS,
    "restartPolicy": str,
    "terminationGracePeriodSeconds": int,
}
CONDITION = {"type": str, "status": str, "reason": str, "message": str, "lastTransitionTime": str}
CONTAINER_STATUS = {"name": str, "ready": bool, "state": {"*": {"*": ANY}}}
SHAPES: dict[Kind, dict[str, Any]] = {
    PODS: {
        "spec": POD_FIELDS,
        "status": {
            "phase": str,
            "reason": str,
            "conditions": [CONDITION],
            "containerStatuses": [CONTAINER_STATUS],
            "initContainerStatuses": [CONTAINER_STATUS],
        },
    },
    JOBS: {
        "spec": {
            "template": {"metadata": {"labels": TEXTS, "annotations": TEXTS}, "spec": POD_FIELDS},
            "suspend": bool,
            "parallelism": int,
            "backoffLimit": int,
            "activeDeadlineSeconds": int,
            "ttlSecondsAfterFinished": int,
            "podReplacementPolicy": str,
        },
        "status": {"conditions": [CONDITION], "active": int, "startTime": str, "completionTime": str},
    },
    SECRETS: {"data": TEXTS, "stringData": TEXTS, "type": str},
    CLAIMS: {
        "spec": {
            "accessModes": [str],
            "resources": {"requests": {"*": QUANTITY}},
            "storageClassName": str,
            "volumeName": str,
        },
        "status": {"phase": str},
    },
    EVENTS: {
        "involvedObject": {"kind": str, "name": str, "uid": str},
        "type": str,
        "reason": str,
        "message": str,
        "count": int,
        "lastTimestamp": str,
    },
    LEASES: {"spec": {"holderIdentity": str}},
}
DELETE_OPTIONS = {
    "preconditions": {"uid": str, "resourceVersion": str},
    "propagationPolicy": str,
    "gracePeriodSeconds": int,
}
ACCESS_REVIEW = {"spec": {"resourceAttributes": TEXTS}}
JSON_PATCH = [{"op": str, "path": str}]


def decoded(value: Any, shape: Any, path: str = "") -> Any:  # noqa: ANN401  # any JSON
    """A copy without null fields, which a server ignores.

    Raises a 400 `Problem` if a field has another type, or if the value is nested too deeply.
    """
    if not path and is_too_deep(value):
        raise bad_request(f"the object is nested deeper than {MAX_DEPTH} levels")
    if isinstance(shape, dict):
        return _decoded_object(value, shape, path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _mismatch(value, "an array", path)
        return [decoded(item, shape[0], f"{path}[{index}]") for index, item in enumerate(value)]
    if shape is not ANY and not _is_of(value, shape):
        raise _mismatch(value, _TYPE_NAMES[shape], path)
    return value


def decoded_object(kind: Kind, obj: Any) -> Object:  # noqa: ANN401  # any JSON
    """The object as `decoded` returns it, with metadata."""
    found: Object = decoded(obj, {"metadata": METADATA, **SHAPES.get(kind, {})})
    found.setdefault("metadata", {})
    return found


def _decoded_object(value: Any, shape: Object, path: str) -> Object:  # noqa: ANN401  # any JSON
    if not isinstance(value, dict):
        raise _mismatch(value, "an object", path)
    return {
        key: decoded(item, shape.get("*") or shape.get(key, ANY), f"{path}.{key}" if path else key)
        for key, item in value.items()
        if item is not None
    }


def _is_of(value: object, shape: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return shape is bool
    if isinstance(value, int) and abs(value) >= _MAX_INT:
        return False
    return isinstance(value, shape)


def _mismatch(value: object, wanted: str, path: str) -> Exception:
    return bad_request(
        f"json: cannot unmarshal {type(value).__name__} into {path or 'the body'}: not {wanted}"
    )
