"""The config form that the host shows: `{fields: [{key, label, type, hint, group, default?, options?}]}`."""

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.models import Models
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS

FORM_TURNS = 1000
"""Initial value of `maxTurnsPerRun` in a form; a config without the key has no limit."""

_DEFAULTS = AdapterConfig()


NOT_ALLOWED = "Not allowed by this host's policy."


def config_schema(models: Models, policy: Policy | None = None) -> JsonMap:
    """Return the form. Each number and each select has a default.

    The hint of a setting that the policy forbids altogether says so, because the form accepts any value.

    When an agent is created, the host writes each default that is not "" into the new agent's config. Without
    a default it would write 0 for a number and the first option for a select.
    """
    forbidden = frozenset() if policy is None else _forbidden(policy)
    return {"fields": [_field(setting, models, forbidden) for setting in SETTINGS]}


def _forbidden(policy: Policy) -> frozenset[str]:
    """The settings for which the policy allows no value."""
    values = [(field, getattr(policy, field.name)) for field in POLICY_FIELDS]
    empty = (field for field, value in values if value is False or value == ())
    return frozenset(name for field in empty for name in field.settings)


def form_default(setting: Setting) -> str | float | bool:
    """Return the initial value in the form: the config's default, except for the limit on turns."""
    return FORM_TURNS if setting.name == "max_turns_per_run" else config_default(setting)


def config_default(setting: Setting) -> str | float | bool:
    """Return the setting's value in an empty config, as the form would write it; "" if it has none."""
    value = getattr(_DEFAULTS, setting.name)
    if setting.kind == "select":
        return setting.options[0] if value is None else str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (bool, int, float, str)) else ""


def shown_default(setting: Setting) -> str:
    """Return `config_default` as text for documents; "" if it has none."""
    value = config_default(setting)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field(setting: Setting, models: Models, forbidden: frozenset[str]) -> JsonMap:
    not_allowed = NOT_ALLOWED if setting.name in forbidden else ""
    field: JsonMap = {
        "key": setting.form_key or setting.key,
        "label": setting.label,
        "type": setting.kind,
        "hint": " ".join(filter(None, (not_allowed, setting.hint, setting.form_hint))),
        "group": setting.group,
    }
    default = form_default(setting)
    if default != "" or setting.kind in {"text", "textarea"}:
        field["default"] = default
    if options := _options(setting, models):
        field["options"] = options
    return field


def _options(setting: Setting, models: Models) -> list[JsonMap]:
    if setting.name == "model":
        return [{"label": model.label, "value": model.id} for model in models]
    return [{"label": option, "value": option} for option in setting.options]
