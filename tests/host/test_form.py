"""The host's form and the agents' guide, both made from the table of settings."""

from typing import Any

import pytest

from paperclip_claude_k8s.host.config import (
    FORM_ENV,
    AdapterConfig,
    older_names,
    unknown_keys,
)
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import config_schema, form_default
from paperclip_claude_k8s.host.guide import agent_configuration_doc
from paperclip_claude_k8s.host.models import ANTHROPIC_MODELS

FIELDS: list[dict[str, Any]] = config_schema(ANTHROPIC_MODELS)["fields"]
GUIDE = agent_configuration_doc()
_EMPTY_VALUES = {"toggle": False, "number": 0, "text": "", "textarea": ""}
"""Type of a field → what the host writes if the field has no default."""


def value_for_new_agent(field: dict[str, Any]) -> Any:
    """Return what the host writes into a new agent's config for an untouched field."""
    if "default" in field:
        return field["default"]
    if field["type"] == "select":
        return field["options"][0]["value"]
    return _EMPTY_VALUES.get(field["type"])


def test_form_has_one_field_for_each_setting() -> None:
    assert sorted(setting.name for setting in SETTINGS) == sorted(AdapterConfig.model_fields)
    keys = [field["key"] for field in FIELDS]
    assert len(set(keys)) == len(keys)
    assert unknown_keys(dict.fromkeys(keys)) == ()


def test_untouched_form_gives_the_config_defaults_and_a_limit_on_turns() -> None:
    created = {
        field["key"]: value_for_new_agent(field) for field in FIELDS if value_for_new_agent(field) != ""
    }
    assert AdapterConfig.read(created) == AdapterConfig(max_turns_per_run=1000)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_form_default_is_the_config_default_except_for_turns(setting: Setting) -> None:
    field = next(field for field in FIELDS if field["key"] == (setting.form_key or setting.key))
    written = value_for_new_agent(field)
    assert written == form_default(setting) or (written is None and form_default(setting) == "")
    default = getattr(AdapterConfig(), setting.name)
    wanted = 1000 if setting.name == "max_turns_per_run" else default
    given = {} if written in {None, ""} else {field["key"]: written}
    assert getattr(AdapterConfig.read(given), setting.name) == wanted


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field["key"])
def test_form_field_has_a_shape_that_the_host_knows(field: dict[str, Any]) -> None:
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
        ("extraArgs", '["--a", "b c"]', "extra_args", ("--a", "b c")),
        ("envVars", "A=1\nB=x=y", "env", {"A": "1", "B": "x=y"}),
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
