"""The config form the host shows: `{fields: [{key, label, type, …}]}` (HOST.md 6.4)."""

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.models import Models

FORM_TURNS = 1000
"""What a form starts with for `maxTurnsPerRun`; a config without it has no limit (SPEC 13)."""

_DEFAULTS = AdapterConfig()


def config_schema(models: Models) -> JsonMap:
    """Every field, with a default wherever the form's own would change what a run does.

    On create the host writes each default that is not "" into the new agent's config; a number without one
    becomes 0 and a select without one its first option.
    """
    return {"fields": [_field(setting, models) for setting in SETTINGS]}


def default_of(setting: Setting) -> str | float | bool:
    """What the form starts with: the default of an empty config, but for a bound on turns."""
    return FORM_TURNS if setting.name == "max_turns_per_run" else plain_default(setting)


def plain_default(setting: Setting) -> str | float | bool:
    """What an empty config has, in the form's own types; "" for nothing."""
    value = getattr(_DEFAULTS, setting.name)
    if setting.kind == "select":
        return setting.options[0] if value is None else str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (bool, int, float, str)) else ""


def _field(setting: Setting, models: Models) -> JsonMap:
    field: JsonMap = {
        "key": setting.form_key or setting.key,
        "label": setting.label,
        "type": setting.kind,
        "hint": f"{setting.hint} {setting.form_hint}".strip(),
        "group": setting.group,
    }
    default = default_of(setting)
    if default != "" or setting.kind in {"text", "textarea"}:
        field["default"] = default
    if options := _options(setting, models):
        field["options"] = options
    return field


def _options(setting: Setting, models: Models) -> list[JsonMap]:
    if setting.name == "model":
        return [{"label": model.label, "value": model.id} for model in models]
    return [{"label": option, "value": option} for option in setting.options]
