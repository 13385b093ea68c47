"""Renders `configuration.md` from the table of settings."""

from collections.abc import Iterable
from itertools import groupby

from paperclip_claude_k8s.host.config import ZERO_MEANS_DEFAULT, other_names
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import shown_default

_INTRODUCTION = f"""\
# Configuration

This file is generated from `host/settings.toml` by `python -m paperclip_claude_k8s.docs`.

A host passes the settings of an agent as `ctx["config"]`; `claude-k8s run` reads them from `--config FILE` and its
options. Every setting is optional.

- Keys are camelCase. Their snake_case spelling is read too.
- Null and blank text count as unset. So does 0 in {", ".join(f"`{key}`" for key in sorted(ZERO_MEANS_DEFAULT))}.
- Maps may be objects, the JSON text of an object, or `key=value` lines. Lists may be lists or their JSON text.
- A quantity is a Kubernetes quantity such as `500m` or `8Gi`. Durations are seconds and may have fractions.
- An unknown key is ignored and reported once per run. A value of the wrong type fails the run with
  `k8s_config_invalid`; the message names the key, the value and what is expected. Values of `env`, `mcpServers`,
  `extraArgs` and `podTemplate` are never quoted.
"""


def configuration_reference() -> str:
    """Return one section for each group: a table of its settings, then their details."""
    groups = groupby(SETTINGS, key=lambda setting: setting.group)
    return _INTRODUCTION + "".join(_section(group, tuple(settings)) for group, settings in groups)


def _section(group: str, settings: Iterable[Setting]) -> str:
    rows = "".join(f"| {_names(each)} | {each.type_name} | {_default(each)} | {each.hint} |\n" for each in settings)
    details = "".join(f"\n`{each.key}`: {each.details}\n" for each in settings if each.details)
    return f"\n## {group}\n\n| key | type | default | effect |\n|---|---|---|---|\n{rows}{details}"


def _names(setting: Setting) -> str:
    return " or ".join(f"`{name}`" for name in (setting.key, *other_names(setting.key)))


def _default(setting: Setting) -> str:
    default = shown_default(setting)
    return f"`{default}`" if default else "-"
