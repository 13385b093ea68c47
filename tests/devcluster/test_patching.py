"""JSON patches on the development cluster: invalid ones are refused with 422, others are applied in order."""

from typing import Any

import pytest

from paperclip_claude_k8s.devcluster.patching import patched
from paperclip_claude_k8s.devcluster.problems import Problem

JSON_PATCH = "application/json-patch+json"


@pytest.mark.parametrize("op", ["frobnicate", "", "Add", "copy", "move"])
def test_unknown_operation_is_refused(op: str) -> None:
    """The development cluster has no `copy` and `move`, which a real server has."""
    patch = [{"op": op, "path": "/a", "from": "/b", "value": 2}]
    with pytest.raises(Problem) as refused:
        patched({"a": 1, "b": 2}, patch, JSON_PATCH)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


@pytest.mark.parametrize("op", ["add", "replace", "remove", "test"])
@pytest.mark.parametrize("path", ["", "a"])  # "" would be the whole object
def test_operation_with_a_path_without_a_slash_is_refused(op: str, path: str) -> None:
    with pytest.raises(Problem) as refused:
        patched({"a": 1}, [{"op": op, "path": path, "value": {"a": 1}}], JSON_PATCH)
    assert refused.value.code == 422


def test_known_operations_are_applied_in_order() -> None:
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/a", "value": 1},
        {"op": "replace", "path": "/a", "value": None},
        {"op": "add", "path": "/list/-", "value": 3},
        {"op": "remove", "path": "/list/0"},
    ]
    assert patched({"a": 1, "list": [1, 2]}, patch, JSON_PATCH) == {"a": None, "list": [2, 3]}
