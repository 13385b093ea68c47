"""JSON patch (RFC 6902) and merge patch (RFC 7386)."""

import copy
from typing import Any

from paperclip_claude_k8s.devcluster.problems import Problem


def patched(obj: dict[str, Any], patch: Any, content_type: str) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """The patched object. A strategic merge patch is applied as a merge patch. Raises 422 `Problem`."""
    if content_type.startswith("application/json-patch"):
        result: Any = copy.deepcopy(obj)
        for operation in patch:
            result = _apply(result, operation)
        return result  # type: ignore[no-any-return]
    merged = _merge(obj, patch)
    assert isinstance(merged, dict)  # noqa: S101  # an object merged with an object
    return merged


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


def _apply(document: Any, operation: dict[str, Any]) -> Any:  # noqa: ANN401
    path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    value = operation.get("value")
    if not path:
        return value
    parent = document
    for part in path[:-1]:
        parent = _child(parent, part, operation)
    if operation["op"] == "add":
        _add(parent, path[-1], value)
        return document
    found = _child(parent, path[-1], operation)
    at = int(path[-1]) if isinstance(parent, list) else path[-1]
    match operation["op"]:
        case "test" if found != value:
            raise _rejected(f"testing value {operation['path']} failed")
        case "remove":
            del parent[at]
        case "replace":
            parent[at] = value
    return document


def _add(parent: Any, last: str, value: Any) -> None:  # noqa: ANN401
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value


def _child(parent: Any, part: str, operation: dict[str, Any]) -> Any:  # noqa: ANN401
    try:
        return parent[int(part)] if isinstance(parent, list) else parent[part]
    except (KeyError, IndexError, ValueError, TypeError):
        raise _rejected(f"{operation['path']} is missing") from None


def _rejected(why: str) -> Problem:
    return Problem(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")
