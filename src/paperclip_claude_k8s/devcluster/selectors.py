"""Label and field selectors."""

import re
from collections.abc import Callable
from typing import Any

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.kinds import Object

Match = Callable[[Object], bool]
_SET = re.compile(r"^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
"""A requirement such as `e in (f,g)`."""
_BETWEEN_PARTS = re.compile(r",(?![^(]*\))")
"""A comma that separates requirements, and not values in parentheses."""


def label_match(selector: str) -> Match:
    """A predicate for a selector such as `a=b,c!=d,e in (f,g),!h,i`: all requirements must hold."""
    tests = [_requirement(part.strip()) for part in _BETWEEN_PARTS.split(selector) if part.strip()]
    return lambda obj: all(test(obj.get("metadata", {}).get("labels") or {}) for test in tests)


def _requirement(part: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(part):
        key, wanted = found[1], {value.strip() for value in found[3].split(",")}
        if found[2] == "in":
            return lambda labels: labels.get(key) in wanted
        return lambda labels: labels.get(key) not in wanted
    if "!=" in part:
        key, value = (side.strip() for side in part.split("!=", 1))
        return lambda labels: labels.get(key) != value
    if "=" in part:
        key, value = (side.strip("= ") for side in part.split("=", 1))
        return lambda labels: labels.get(key) == value
    if part.startswith("!"):
        return lambda labels: part[1:].strip() not in labels
    return lambda labels: part in labels


def field_match(selector: str) -> Match:
    """A predicate for a selector such as `metadata.name=x,involvedObject.uid!=y`, with paths of fields."""
    tests = [_field(part) for part in selector.split(",") if part]
    return lambda obj: all(test(obj) for test in tests)


def _field(part: str) -> Match:
    path, operator, value = re.split(r"(!=|==?)", part, maxsplit=1) if "=" in part else ("", "", "")
    if not operator:
        raise problems.bad_request(f"invalid field selector {part!r}")

    def test(obj: Object) -> bool:
        found: Any = obj
        for step in path.strip().split("."):
            found = found.get(step) if isinstance(found, dict) else None
        is_equal = str(found or "") == value.strip()
        return not is_equal if operator == "!=" else is_equal

    return test
