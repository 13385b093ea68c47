"""Rendering of templates, joining of sections, and JSON for prompts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.plan.templates import compact_json, join_sections, render_template

VALUES: dict[str, Any] = {
    "agent": {"name": "A", "x-y": 1, "deep": {"er": None}},
    "list": [1],
    "yes": True,
    "half": 1.5,
    "whole": 3.0,
    "zero": 0,
    "text": "{{agent.name}}",
    "when": datetime(2026, 1, 2, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{agent.name}}|{{missing.x}}|{{list}}|{{list.0}}", "A||[1]|"),
        ("{{ agent.name }}{{\tagent.x-y\n}}", "A1"),
        ("{{half}} {{whole}} {{zero}} {{yes}}", "1.5 3 0 true"),
        ("{{agent}}", '{"name":"A","x-y":1,"deep":{"er":null}}'),
        ("{{agent.deep.er}}{{agent.name.length}}{{yes.x}}", ""),
        ("{{text}}", "{{agent.name}}"),
        ("{{{agent.name}}}", "{A}"),
        ("{{}} {{ }} {{a b}} {agent.name} {{agent.name", "{{}} {{ }} {{a b}} {agent.name} {{agent.name"),
        ("{{.}}{{agent.}}{{..name}}", ""),
        ("{{when}}", "2026-01-02 00:00:00+00:00"),
        ("<b>&{{agent.name}}", "<b>&A"),
        ("", ""),
    ],
)
def test_render_template_replaces_names_and_leaves_other_braces(template: str, rendered: str) -> None:
    assert render_template(template, VALUES) == rendered


@given(st.text(), st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.floats())))
def test_rendering_never_fails(template: str, values: dict[str, Any]) -> None:
    render_template(template, values)
    assert render_template("".join(f"{{{{{name}}}}}" for name in values), values) is not None


def test_sections_are_trimmed_and_empty_ones_left_out() -> None:
    assert join_sections([" a\n", "", "  \n", None, 3, ["x"], "b "]) == "a\n\nb"
    assert join_sections(["a", "b"], "|") == "a|b"
    assert join_sections([]) == ""


def test_json_is_compact_and_always_encodable() -> None:
    text = compact_json({"a": [1, None, "ü"], "when": VALUES["when"], "half": "\ud800"})
    assert text == '{"a":[1,null,"ü"],"when":"2026-01-02 00:00:00+00:00","half":"?"}'
    assert text.encode()
