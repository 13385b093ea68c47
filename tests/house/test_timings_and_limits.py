"""Every field of `Timings` and `Limits` in `base/settings.py` is used by some module."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import paperclip_claude_k8s
from paperclip_claude_k8s.base.settings import Limits, Timings

SOURCES = Path(paperclip_claude_k8s.__file__).parent


def _name(node: ast.expr) -> str:
    """Return the normalised name: `timings` for `a.b.timings`, `self._timings` and `Timings()`."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_").lower()


def _used(kind: str) -> set[str]:
    return {
        node.attr
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and _name(node.value) == kind
    }


@pytest.mark.parametrize("kind", [Timings, Limits])
def test_every_timing_and_limit_is_used(kind: type[Timings | Limits]) -> None:
    assert {field.name for field in fields(kind)} - _used(kind.__name__.lower()) == set()
