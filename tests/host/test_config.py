"""Reading the config: spellings, empty values, resources, and errors that name the key."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid, unknown_keys

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
known_keys = st.sampled_from(
    [field.alias or name for name, field in AdapterConfig.model_fields.items()]
    + ["resources", "resources.limits.cpu", "thinkingEffort", "args"]
)


def test_empty_config_has_the_documented_defaults() -> None:
    config = AdapterConfig.read({})
    assert (config.cpu_request, config.memory_request) == ("1000m", "2Gi")
    assert (config.cpu_limit, config.memory_limit) == ("4000m", "8Gi")
    assert (config.schedule_timeout_sec, config.image_pull_timeout_sec, config.start_timeout_sec) == (
        120,
        900,
        120,
    )
    assert config.ttl_seconds_after_finished == 3600
    assert config.log_limit_bytes == 10 * 1024**3
    assert config.dangerously_skip_permissions is True
    assert config.reattach_orphaned_jobs is True


@pytest.mark.parametrize("value", [None, "", "   "])
def test_config_null_or_blank_value_is_unset(value: object) -> None:
    assert AdapterConfig.read({"image": value, "timeoutSec": value}).image is None


def test_config_zero_is_unset_unless_it_means_no_limit() -> None:
    config = AdapterConfig.read(
        {"graceSec": 0, "ttlSecondsAfterFinished": 0, "timeoutSec": 0, "maxTurnsPerRun": 0}
    )
    assert config.grace_sec == 60
    assert config.ttl_seconds_after_finished == 3600
    assert config.timeout_sec == 0  # no limit
    assert config.max_turns_per_run == 0  # no limit


def test_config_reads_snake_case_and_older_names() -> None:
    config = AdapterConfig.read({"retain_jobs": True, "thinkingEffort": "high", "args": ["--a"]})
    assert config.retain_jobs is True
    assert config.effort == "high"
    assert config.extra_args == ("--a",)


def test_config_uses_the_value_of_the_newer_name() -> None:
    assert AdapterConfig.read({"thinkingEffort": "low", "effort": "high"}).effort == "high"


@pytest.mark.parametrize(
    "raw",
    [
        {"resources.limits.cpu": "2"},
        {"resources": {"limits": {"cpu": "2"}}},
        {"resources": {"limits": {"cpu": "9"}}, "resources.limits.cpu": "2"},
    ],
)
def test_config_resources_are_dotted_or_nested_and_a_dotted_key_takes_precedence(
    raw: dict[str, object],
) -> None:
    assert AdapterConfig.read(raw).cpu_limit == "2"


@pytest.mark.parametrize(
    "value",
    [{"disk": "ssd", "zone": "a"}, '{"disk": "ssd", "zone": "a"}', "disk=ssd\n# comment\n zone = a \n"],
)
def test_config_map_is_read_from_object_json_or_lines(value: object) -> None:
    assert AdapterConfig.read({"nodeSelector": value}).node_selector == {"disk": "ssd", "zone": "a"}


def test_config_list_of_objects_is_read_from_json() -> None:
    tolerations = [{"key": "a", "operator": "Exists"}]
    assert AdapterConfig.read({"tolerations": json.dumps(tolerations)}).tolerations == tuple(tolerations)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"timeoutSec": "soon"}, ["config.timeoutSec", "a number of seconds", "'soon'"]),
        ({"timeoutSec": True}, ["config.timeoutSec", "a number of seconds", "True"]),
        ({"timeoutSec": -1}, ["config.timeoutSec", "0 or more", "-1"]),
        ({"retainJobs": "yes"}, ["config.retainJobs", "true or false", "'yes'"]),
        ({"maxTurnsPerRun": 1.5}, ["config.maxTurnsPerRun", "whole number", "1.5"]),
        ({"image": 3}, ["config.image", "a string", "3"]),
        ({"promptDelivery": "mail"}, ["config.promptDelivery", "secret, init", "'mail'"]),
        ({"concurrencyScope": "host"}, ["config.concurrencyScope", "agent, task", "'host'"]),
        ({"resources.limits.memory": "lots"}, ["config.resources.limits.memory", "quantity", "'lots'"]),
        ({"resources": "big"}, ["config.resources", "an object with requests and limits"]),
        ({"tolerations": "["}, ["config.tolerations", "a list of objects"]),
        ({"logSizeLimit": "10 Gi"}, ["config.logSizeLimit", '"8Gi"']),
        ({"podTemplate": {"spec": {}, "sp\ud800": 1}}, ["config.podTemplate", "(not sp\ufffd)"]),
    ],
)
def test_config_error_names_key_value_and_expectation(raw: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        AdapterConfig.read(raw)
    assert all(part in str(caught.value) for part in expected), str(caught.value)


@pytest.mark.parametrize("key", ["env", "mcpServers", "podTemplate", "extraArgs"])
def test_config_error_never_quotes_a_secret(key: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        AdapterConfig.read({key: 424242})
    assert "424242" not in str(caught.value)
    with pytest.raises(ConfigInvalid) as caught:
        AdapterConfig.read({"resources": "x", "env": {"TOKEN": "canary-7"}})
    assert "canary-7" not in str(caught.value)


_REFERENCE = {"secretKeyRef": {"name": "claude-api-key", "key": "ANTHROPIC_API_KEY"}}


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        ({"valueFrom": _REFERENCE}, _REFERENCE),
        (_REFERENCE, _REFERENCE),
        (
            {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
        ),
        ({"configMapKeyRef": {"name": "c", "key": "k"}}, {"configMapKeyRef": {"name": "c", "key": "k"}}),
    ],
)
@pytest.mark.parametrize("key", ["env", "envVars"])
def test_variable_may_refer_to_a_secret_or_config_map(key: str, raw: object, source: object) -> None:
    for written in ({"A": 1, "B": raw}, json.dumps({"A": 1, "B": raw})):
        config = AdapterConfig.read({key: written})
        assert config.env_values == {"A": "1"}
        assert config.env_references == {"B": source}


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"valueFrom": {}},
        {"valueFrom": "s/k"},
        {"value": "canary-7"},
        {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"secretKeyRef": {"name": "s"}},
        {"secretKeyRef": {"name": "s", "key": 7}},
        {"secretKeyRef": {"name": "", "key": "k"}},
        {"secretKeyRef": {"name": "../s", "key": "k"}},
        {"secretKeyRef": {"name": "s", "key": "canary-7/"}},
        {"secretKeyRef": {"name": "s", "key": "k", "optional": "yes"}},
        {"secretKeyRef": {"name": "s", "key": "k", "namespace": "other"}},
        {**_REFERENCE, "configMapKeyRef": {"name": "c", "key": "k"}},
        {"valueFrom": _REFERENCE, "value": "canary-7"},
    ],
)
def test_wrong_reference_is_an_error_that_shows_the_form_and_no_value(value: object) -> None:
    with pytest.raises(ConfigInvalid, match="secretKeyRef") as caught:
        AdapterConfig.read({"env": {"A": value}})
    assert "canary-7" not in str(caught.value)


def test_unknown_keys_exclude_known_keys_and_keys_of_the_host() -> None:
    raw = {
        "bogus": 1,
        "image": "x",
        "resources": {},
        "resources.limits.cpu": "1",
        "paperclipRuntimeSkills": [],
    }
    assert unknown_keys(raw) == ("bogus",)


@given(st.dictionaries(known_keys | st.text(), json_values))
def test_config_of_any_json_is_read_or_raises_config_invalid(raw: dict[str, object]) -> None:
    try:
        AdapterConfig.read(raw)
    except ConfigInvalid as error:
        assert str(error).startswith("config.")
