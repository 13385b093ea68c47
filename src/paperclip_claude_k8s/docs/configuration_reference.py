"""Renders `configuration.md` from the table of settings."""

from collections.abc import Iterable
from itertools import groupby

from paperclip_claude_k8s.host.config import ZERO_MEANS_DEFAULT, older_names
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import shown_default

_ZEROES = ", ".join(f"`{key}`" for key in sorted(ZERO_MEANS_DEFAULT))
_INTRODUCTION = f"""\
# Configuration

This file is generated from `host/settings.toml` by `python -m paperclip_claude_k8s.docs`.

A host passes the settings of an agent as `ctx["config"]`; `claude-k8s run` reads them from `--config FILE`
and its options. Every setting is optional. "The CLI" is Claude Code: the program `claude` in the agent's
image. Other terms, such as home pod and run Secret, are in the [glossary](architecture.md#glossary).

- Keys are camelCase. Their snake_case spelling is read too.
- Null and blank text count as unset. In these settings, 0 counts as unset too:
  {_ZEROES}.
- Maps may be objects, the JSON text of an object, or `key=value` lines. Lists may be lists or JSON text.
- A quantity is a Kubernetes quantity such as `500m` or `8Gi`. Durations are seconds and may have fractions.
- An unknown key is ignored and reported once per run. A value of the wrong type fails the run with
  `k8s_config_invalid`. The message names the key, the value and what is expected; it never quotes a value of
  `env`, `mcpServers`, `extraArgs` or `podTemplate`.
"""
_TABLE = "| key | type | default | effect |\n|---|---|---|---|\n"


def configuration_reference() -> str:
    """Return one section for each group: a table of its settings, then their details."""
    groups = groupby(SETTINGS, key=lambda setting: setting.group)
    return _INTRODUCTION + "".join(_section(group, tuple(settings)) for group, settings in groups)


def _section(group: str, settings: Iterable[Setting]) -> str:
    rows = "".join(map(_row, settings))
    details = "".join(f"\n`{setting.key}`: {setting.details}\n" for setting in settings if setting.details)
    return f"\n## {group}\n\n{_TABLE}{rows}{details}"


def _row(setting: Setting) -> str:
    names = " or ".join(f"`{name}`" for name in (setting.key, *older_names(setting.key)))
    default = shown_default(setting)
    return f"| {names} | {setting.type_name} | {f'`{default}`' if default else '-'} | {setting.hint} |\n"
