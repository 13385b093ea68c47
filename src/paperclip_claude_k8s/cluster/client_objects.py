"""Converts objects to Kubernetes' JSON: those of `kubernetes_asyncio` and `kubernetes`, and plain dicts.

The fields of a plain dict may be named as in JSON (`exitCode`) or as in Python (`exit_code`).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_UNDERSCORE = re.compile(r"_([a-z0-9])")
_FREE_KEYS = frozenset({"annotations", "data", "labels", "nodeSelector", "stringData"})
"""Fields that hold maps whose keys are chosen by people, and therefore stay as they are."""
_IRREGULAR = {"podIp": "podIP", "hostIp": "hostIP", "containerId": "containerID", "imageId": "imageID"}
_MAX_DEPTH = 32


def json_of(value: object) -> dict[str, Any]:
    """The object in Kubernetes' JSON, with None for values of unknown types; {} for any other value."""
    found = _json_of(value, 0)
    return found if isinstance(found, dict) else {}


def _json_of(value: object, depth: int) -> Any:  # noqa: ANN401  # any JSON value
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_json_of(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        fields = {json_name(key): item for key, item in value.items() if isinstance(key, str)}
    else:
        names = getattr(value, "attribute_map", None)
        if not isinstance(names, Mapping):
            return None
        fields = {str(name): getattr(value, str(attribute), None) for attribute, name in names.items()}
    return {
        key: dict(item) if key in _FREE_KEYS and isinstance(item, Mapping) else _json_of(item, depth + 1)
        for key, item in fields.items()
        if item is not None
    }


def json_name(key: str) -> str:
    """The name of a field in JSON: `exit_code` → `exitCode`."""
    camel = _UNDERSCORE.sub(lambda match: match[1].upper(), key)
    return _IRREGULAR.get(camel, camel)
