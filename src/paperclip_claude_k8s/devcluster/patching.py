"""JSON patch (RFC 6902, without `copy` and `move`) and merge patch (RFC 7386)."""

import copy
from typing import Any

from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.shapes import JSON_PATCH, decoded

_OPERATIONS = ("add", "remove", "replace", "test")


def patched(obj: dict[str, Any], patch: Any, content_type: str) -> Any:  # noqa: ANN401  # JSON
    """The patched object; a patch can turn it into any JSON value.

    A strategic merge patch is applied as a merge patch. Raises a 400 or 422 `Problem`.
    """
    if not content_type.startswith("application/json-patch"):
        return _merge(obj, patch)
    result: Any = copy.deepcopy(obj)
    # `checked` lacks fields that are null, but an operation may set a field to null
    for operation, checked in zip(patch, decoded(patch, JSON_PATCH), strict=True):
        if "path" not in checked or checked.get("op") not in _OPERATIONS:
            raise _rejected(f"an operation needs a path, and an op of {', '.join(_OPERATIONS)}")
        try:
            _apply(result, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError):
            raise _rejected(f"{checked['path']} is missing") from None
    return result


def _merge(target: Any, patch: Any) -> Any:  # noqa: ANN401
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def _apply(document: Any, operation: dict[str, Any]) -> None:  # noqa: ANN401
    """Change the document. A path of no parts raises IndexError: no operation applies to the whole object."""
    path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    value = operation.get("value")
    parent = document
    for part in path[:-1]:
        parent = _child(parent, part)
    if operation["op"] == "add":
        _add(parent, path[-1], value)
        return
    found = _child(parent, path[-1])
    at = int(path[-1]) if isinstance(parent, list) else path[-1]
    match operation["op"]:
        case "test" if found != value:
            raise _rejected(f"testing value {operation['path']} failed")
        case "remove":
            del parent[at]
        case "replace":
            parent[at] = value


def _add(parent: Any, last: str, value: Any) -> None:  # noqa: ANN401
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value


def _child(parent: Any, part: str) -> Any:  # noqa: ANN401
    return parent[int(part)] if isinstance(parent, list) else parent[part]


def _rejected(why: str) -> Problem:
    return Problem(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")
