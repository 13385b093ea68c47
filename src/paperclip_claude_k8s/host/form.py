"""The config form: `{fields: [{key, label, type, hint, group, default?, options?, meta?}]}`.

The form begins with what a first run needs. A select shows one group of further settings at a time. The form
leaves out what the host's page itself offers for every adapter, and what has no effect on a host.
"""

from paperclip_claude_k8s.host.config import FORM_SECTION, AdapterConfig
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.models import Models
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS

_DEFAULTS = AdapterConfig()
NOT_ALLOWED = "Not allowed by this host's policy."
FOLDED_BY_HOST = ("timeout", "grace")
"""The host's page moves settings whose key contains one of these to its own folded section of time limits."""
EVERYTHING = "all"
SECTIONS = {
    "none": "Only the settings above",
    "agent": "Prompt, turns and tools",
    "workspace": "Workspace and git",
    "cluster": "Pod and resources",
    "run": "Waiting, adoption and clean-up",
    "files": "Logs and the shared volume",
    "extras": "Extras",
    EVERYTHING: "Everything",
}
"""Value and label of each option of the select that chooses what the form shows."""
_SECTION_OF = {
    "Agent": "agent",
    "Workspace": "workspace",
    "Cluster": "cluster",
    "Life of a run": "run",
    "Files and logs": "files",
    "Extras": "extras",
}
"""Group of a setting → the section that shows it."""


def config_schema(models: Models, policy: Policy | None = None) -> JsonMap:
    """Return the form. Each number and each select has a default.

    The hint of a setting that the policy forbids altogether says so, because the form accepts any value.

    When an agent is created, the host writes each default that is not "" into the new agent's config. Without
    a default it would write 0 for a number and the first option for a select. Each default is the one that an
    empty config has, because some of the host's forms write none.
    """
    forbidden = frozenset() if policy is None else _forbidden(policy)
    basic = [setting for setting in SETTINGS if setting.form == "basic"]
    folded = [setting for setting in SETTINGS if setting.form == "folded"]
    fields = [_field(setting, models, forbidden) for setting in (*basic, *folded)]
    return {"fields": [*fields[: len(basic)], _section_select(), *fields[len(basic) :]]}


def _section_select() -> JsonMap:
    return {
        "key": FORM_SECTION,
        "label": "Further settings",
        "type": "select",
        "hint": "Which further settings this form shows. Settings that it does not show keep their values.",
        "group": "Form",
        "default": "none",
        "options": [{"label": label, "value": value} for value, label in SECTIONS.items()],
    }


def _forbidden(policy: Policy) -> frozenset[str]:
    """The settings for which the policy allows no value."""
    values = [(field, getattr(policy, field.name)) for field in POLICY_FIELDS]
    empty = (field for field, value in values if value is False or value == ())
    return frozenset(name for field in empty for name in field.settings)


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
    field: JsonMap = {
        "key": setting.key,
        "label": setting.label,
        "type": setting.kind,
        "hint": f"{NOT_ALLOWED} {setting.hint}" if setting.name in forbidden else setting.hint,
        "group": setting.group,
    }
    default = config_default(setting)
    if default != "" or setting.kind in {"text", "textarea"}:
        field["default"] = default
    if options := _options(setting, models):
        field["options"] = options
    if condition := _condition(setting):
        field["meta"] = {"visibleWhen": condition}
    return field


def _condition(setting: Setting) -> JsonMap | None:
    """When the form shows the setting; None: always. The host's page compares values as texts."""
    if setting.needs:
        (needed,) = (other for other in SETTINGS if other.name == setting.needs)
        off = "false" if needed.kind == "toggle" else ""
        return {"key": needed.key, "notValues": [off]}
    is_folded_by_host = any(word in setting.key.lower() for word in FOLDED_BY_HOST)
    if setting.form == "basic" or is_folded_by_host:
        return None
    return {"key": FORM_SECTION, "values": [_SECTION_OF[setting.group], EVERYTHING]}


def _options(setting: Setting, models: Models) -> list[JsonMap]:
    if setting.name == "model":
        return [{"label": model.label, "value": model.id} for model in models]
    return [{"label": option, "value": option} for option in setting.options]
