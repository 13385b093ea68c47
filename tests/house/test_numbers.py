"""A number in the house's settings is one that somebody uses."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import paperclip_claude_k8s
from paperclip_claude_k8s.base.settings import Limits, Timings

SOURCES = Path(paperclip_claude_k8s.__file__).parent


@pytest.mark.parametrize("kind", [Timings, Limits])
def test_every_timing_and_limit_is_used(kind: type[Timings | Limits]) -> None:
    elsewhere = (path for path in SOURCES.rglob("*.py") if path.name != "settings.py")
    used = {name for path in elsewhere for name in re.findall(r"\.(\w+)", path.read_text(encoding="utf-8"))}
    assert {field.name for field in fields(kind)} - used == set()
