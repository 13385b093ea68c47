"""Configs and contexts that are deeper, longer or larger than a run can need."""

import json
from typing import Any

import pytest

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext
from paperclip_claude_k8s.host.input_bounds import find_excess


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def endless() -> list[Any]:
    """A list that contains itself twice."""
    value: list[Any] = []
    value += [value, value]
    return value


@pytest.mark.parametrize(
    "value", [nested(LIMITS.input_depth), [0] * 199_000, 2**64 - 1, -(2**63), 1e308, None, "x"]
)
def test_value_within_the_limits_has_no_excess(value: object) -> None:
    assert find_excess(value) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (nested(LIMITS.input_depth + 1), "deeper than 64"),
        (nested(100_000), "deeper than 64"),
        ([0] * 200_001, "more than 200000 values"),
        ([[0] * 1000] * 1000, "more than 200000 values"),
        (endless(), "more than 200000 values"),
        ([-(10**5000)], "a whole number that has more than"),
    ],
)
def test_excess_is_named_with_its_key(value: Any, why: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"config.podTemplate .*{why}"):
        AdapterConfig.read({"podTemplate": value})
    with pytest.raises(ContextInvalid, match=f"ctx.context.wake .*{why}"):
        ExecutionContext.read(
            {"runId": "r", "agent": {"id": "a"}, "onLog": print, "context": {"wake": value}}
        )


@pytest.mark.parametrize(
    "config",
    [
        {"extraArgs": ["-" * LIMITS.examined_chars]},
        {"extraArgs": ["-"] * 10_000},
        {"mcpServers": {"a": {"command": "-" * LIMITS.examined_chars}}},
        {"mcpServers": json.dumps({"a": {"command": "-" * LIMITS.examined_chars}})},
        {"podTemplate": {"metadata": {"annotations": {"a" * LIMITS.examined_chars: ""}}}},
        {"env": {"A": "-" * LIMITS.config_chars}},
        {"env": {"A": "-" * (LIMITS.config_chars // 2)}, "promptTemplate": "-" * (LIMITS.config_chars // 2)},
    ],
)
def test_config_with_too_much_text_is_invalid(config: dict[str, Any]) -> None:
    """Without this limit, reading the config takes 10 s for each megabyte, and all runs of the host wait."""
    with pytest.raises(ConfigInvalid, match="characters") as caught:
        AdapterConfig.read(config)
    assert len(str(caught.value)) < 200, "the text is not quoted"


def test_config_with_much_text_is_valid() -> None:
    text = "-" * 100_000
    config = {
        "extraArgs": ["--note", text],
        "mcpServers": {"a": {"command": text}},
        "env": {"A": text, "B": text},
        "promptTemplate": text,
        "paperclipRuntimeSkills": [{"key": text * 20}],
    }
    assert AdapterConfig.read(config).extra_args == ("--note", text)


@pytest.mark.parametrize(
    ("key", "too_many"),
    [
        ("paperclipRuntimeSkills", [{}] * 2001),
        ("paperclip_runtime_skills", [{}] * 2001),
        ("paperclipSkillSync", {"desiredSkills": ["a"] * 2001}),
        ("paperclip_skill_sync", {"desired_skills": ["a"] * 2001}),
    ],
)
def test_config_with_too_many_skills_is_invalid(key: str, too_many: Any) -> None:
    with pytest.raises(ConfigInvalid, match="more than 2000 skills; (remove|select)"):
        AdapterConfig.read({key: too_many})


def test_config_with_as_many_skills_as_allowed_is_valid() -> None:
    AdapterConfig.read(
        {"paperclipRuntimeSkills": [{}] * 2000, "paperclipSkillSync": {"desiredSkills": [{}] * 2000}}
    )


@pytest.mark.parametrize("key", ["podTemplate", "env", "mcpServers", "tolerations"])
def test_json_text_within_a_config_has_the_same_limits(key: str) -> None:
    for text in ("[" * 100_000, '{"a":' * 70 + "1" + "}" * 70, "[" + "1," * 300_000 + "1]", "{" * 2000):
        with pytest.raises(ConfigInvalid, match=f"config.{key}"):
            AdapterConfig.read({key: text})


@pytest.mark.parametrize("key", ["maxTurnsPerRun", "timeoutSec", "runAsUser", "graceSec"])
@pytest.mark.parametrize("number", [2**31, 1e300, float("inf"), float("nan"), -1])
def test_number_beyond_32_bits_is_invalid(key: str, number: float) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        AdapterConfig.read({key: number})


@pytest.mark.parametrize("metadata", [{"labels": ["a"]}, {"annotations": "a"}, {"labels": 7}])
def test_metadata_of_a_pod_template_with_odd_maps_is_invalid(metadata: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match="metadata"):
        AdapterConfig.read({"podTemplate": {"metadata": metadata}})


def test_whole_number_above_64_bits_is_accepted_in_a_context_only() -> None:
    """JavaScript writes 1e20 as a whole number."""
    with pytest.raises(ConfigInvalid, match="more than 64 bits"):
        AdapterConfig.read({"podTemplate": {"a": 2**64}})
    context = {"wake": 10**20}
    ctx = ExecutionContext.read({"runId": "r", "agent": {"id": "a"}, "onLog": print, "context": context})
    assert ctx.context == context
