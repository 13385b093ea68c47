"""Renders `policy.md`: its own introduction, then the table of the policy's fields."""

import json
from itertools import groupby
from pathlib import Path

from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS, PolicyField

_PAGE = Path(__file__).with_name("policy.md")
_TABLE = "| field | type | default | allows or limits |\n|---|---|---|---|\n"
_DEFAULT = Policy().to_wire()
_MAX_CELL_CHARS = 20
"""Longest default that the table shows. Longer ones are shown below it."""


def policy_reference() -> str:
    """Return the page: its introduction unchanged, then one section for each group of fields."""
    introduction = _PAGE.read_text(encoding="utf-8").partition("\n## Fields: ")[0].rstrip() + "\n"
    groups = groupby(POLICY_FIELDS, key=lambda field: field.group)
    return "".join((introduction, *(_section(group, tuple(fields)) for group, fields in groups)))


def _section(group: str, fields: tuple[PolicyField, ...]) -> str:
    reasons = "".join(f"\n`{field.key}`: {_long_default(field)}{field.reason}\n" for field in fields)
    return f"\n## Fields: {group[0].lower()}{group[1:]}\n\n{_TABLE}{''.join(map(_row, fields))}{reasons}"


def _row(field: PolicyField) -> str:
    default = json.dumps(_DEFAULT[field.key])
    shown = f"`{default}`" if len(default) <= _MAX_CELL_CHARS else "see below"
    return f"| `{field.key}` | {field.shape} | {shown} | {field.effect} |\n"


def _long_default(field: PolicyField) -> str:
    default = json.dumps(_DEFAULT[field.key])
    return "" if len(default) <= _MAX_CELL_CHARS else f"by default `{default}`. "
