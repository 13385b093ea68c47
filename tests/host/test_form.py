"""The host's form and the agents' guide, both made from the table of settings."""

from typing import Any

import pytest

from paperclip_claude_k8s.host.config import (
    FORM_ENV,
    FORM_SECTION,
    AdapterConfig,
    older_names,
    unknown_keys,
)
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import EVERYTHING, SECTIONS, config_schema
from paperclip_claude_k8s.host.guide import agent_configuration_doc
from paperclip_claude_k8s.host.models import ANTHROPIC_MODELS

FIELDS: list[dict[str, Any]] = config_schema(ANTHROPIC_MODELS)["fields"]
GUIDE = agent_configuration_doc()
_EMPTY_VALUES = {"toggle": False, "number": 0, "text": "", "textarea": ""}
"""Type of a field → what the host writes into a new config if the field has no default."""


def value_for_new_agent(field: dict[str, Any]) -> Any:
    """Return what the host writes into a new agent's config for an untouched field."""
    if "default" in field:
        return field["default"]
    if field["type"] == "select":
        return field["options"][0]["value"]
    return _EMPTY_VALUES.get(field["type"])


def test_form_has_one_field_for_each_setting_that_it_shows() -> None:
    assert sorted(setting.name for setting in SETTINGS) == sorted(AdapterConfig.model_fields)
    keys = [field["key"] for field in FIELDS]
    assert sorted(keys) == sorted([*(s.key for s in SETTINGS if s.form != "none"), FORM_SECTION])
    assert unknown_keys(dict.fromkeys(keys)) == ()


def test_form_omits_settings_that_the_host_offers_itself_or_that_have_no_effect_in_it() -> None:
    keys = {field["key"] for field in FIELDS}
    assert not keys & {"effort", "extraArgs", "env", "envVars", "refreshOnSpawn", "quotaGateUrl"}


def test_untouched_form_gives_the_config_defaults() -> None:
    """Some of the host's forms write all defaults, others write none."""
    created = {
        field["key"]: value_for_new_agent(field) for field in FIELDS if value_for_new_agent(field) != ""
    }
    assert AdapterConfig.read(created) == AdapterConfig()


def shown_fields(config: dict[str, Any]) -> list[str]:
    """The keys that the host's page shows, by its rules for `visibleWhen`."""

    def is_shown(field: dict[str, Any]) -> bool:
        condition = field.get("meta", {}).get("visibleWhen")
        if condition is None:
            return True
        (other,) = (other for other in FIELDS if other["key"] == condition["key"])
        value = config.get(other["key"], value_for_new_agent(other))
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return text in condition["values"] if "values" in condition else text not in condition["notValues"]

    return [field["key"] for field in FIELDS if is_shown(field)]


def test_form_begins_with_what_a_first_run_needs() -> None:
    basic = ["model", "kubeconfig", "namespace", "image", "claimName", "testWithProbe", FORM_SECTION]
    shown = shown_fields({})
    assert shown[: len(basic)] == basic
    # the host's page folds these itself
    assert all("timeout" in key.lower() or "grace" in key.lower() for key in shown[len(basic) :])


def test_form_shows_each_setting_in_one_section() -> None:
    everything = set(shown_fields({FORM_SECTION: EVERYTHING}))
    always = set(shown_fields({}))
    sections = [set(shown_fields({FORM_SECTION: name})) - always for name in SECTIONS if name != EVERYTHING]
    assert set().union(*sections) | always == everything
    assert sum(map(len, sections)) == len(everything - always)
    assert max(map(len, sections)) <= 20  # few enough to be read at once


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"kubeconfig": "/k"}, "kubeContext"),
        ({"enableDocker": True}, "dockerImage"),
        ({"enableRtk": True}, "rtkMaxOutputBytes"),
    ],
)
def test_form_shows_a_dependent_setting_only_with_the_one_it_needs(config: dict[str, Any], key: str) -> None:
    assert key in shown_fields(config)
    assert key not in shown_fields({FORM_SECTION: EVERYTHING})


@pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.form != "none"], ids=lambda setting: setting.name
)
def test_form_default_is_the_config_default(setting: Setting) -> None:
    field = next(field for field in FIELDS if field["key"] == setting.key)
    written = value_for_new_agent(field)
    raw = {} if written in {None, ""} else {field["key"]: written}
    assert getattr(AdapterConfig.read(raw), setting.name) == getattr(AdapterConfig(), setting.name)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field["key"])
def test_form_field_has_a_shape_that_the_host_can_show(field: dict[str, Any]) -> None:
    assert field["type"] in {"text", "select", "toggle", "number", "textarea", "combobox"}
    assert field["label"]
    assert field["hint"]
    assert field["group"]
    if field["type"] in {"toggle", "number"}:
        assert isinstance(field["default"], bool if field["type"] == "toggle" else (int, float))
    if field["type"] == "select":
        assert field["default"] in [option["value"] for option in field["options"]]
    for option in field.get("options", []):
        assert set(option) == {"label", "value"}


@pytest.mark.parametrize("field", [f for f in FIELDS if f["type"] == "select"], ids=lambda f: f["key"])
def test_form_select_options_are_valid_in_the_config(field: dict[str, Any]) -> None:
    for option in field["options"]:
        AdapterConfig.read({field["key"]: option["value"]})


@pytest.mark.parametrize(
    ("key", "typed", "name", "read"),
    [
        ("allowedTools", "Bash Read", "allowed_tools", ("Bash", "Read")),
        ("mcpServers", '{"s": {"url": "u"}}', "mcp_servers", {"s": {"url": "u"}}),
        ("nodeSelector", "disk=ssd", "node_selector", {"disk": "ssd"}),
        ("tolerations", '[{"key": "a"}]', "tolerations", ({"key": "a"},)),
        ("podTemplate", '{"spec": {}}', "pod_template", {"spec": {}}),
        ("teeRunLog", "true", "tee_run_log", True),
        ("teeRunLog", "auto", "tee_run_log", None),
        ("resources.limits.cpu", "2", "cpu_limit", "2"),
    ],
)
def test_form_input_is_read_by_the_config(key: str, typed: str, name: str, read: object) -> None:
    assert any(field["key"] == key for field in FIELDS)
    assert getattr(AdapterConfig.read({key: typed}), name) == read


def test_form_variables_are_overridden_by_env_and_checked() -> None:
    assert FORM_ENV == "envVars"
    config = AdapterConfig.read({"env": {"A": "host"}, "envVars": "A=form\nB=form"})
    assert config.env == {"A": "host", "B": "form"}
    with pytest.raises(ValueError, match="config.envVars: expected"):
        AdapterConfig.read({"envVars": "no equals sign, canary-9"})
    with pytest.raises(ValueError, match="config.env: expected"):
        AdapterConfig.read({"env": 3, "envVars": "A=1"})


def test_form_offers_the_given_models() -> None:
    (field,) = [field for field in FIELDS if field["key"] == "model"]
    assert [option["value"] for option in field["options"]] == [model.id for model in ANTHROPIC_MODELS]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_guide_has_a_line_for_every_setting(setting: Setting) -> None:
    (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"- `{setting.key}`")]
    assert setting.hint in line
    assert all(f"`{name}`" in line for name in older_names(setting.key))


def test_guide_shows_config_defaults_and_older_names() -> None:
    assert "- `maxTurnsPerRun` (integer, default 0)" in GUIDE
    assert "- `effort` or `thinkingEffort` (string)" in GUIDE
    assert GUIDE.startswith("# claude_k8s")
