"""The models of the host's picker, and the model that the environment names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON

from paperclip_claude_k8s.host.models import (
    ANTHROPIC_MODELS,
    BEDROCK_MODELS,
    Model,
    detect_model,
    known_models,
    read_live_list,
    uses_bedrock,
    with_live_models,
)


@pytest.mark.parametrize(
    ("env", "bedrock"),
    [
        ({}, False),
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, True),
        ({"CLAUDE_CODE_USE_BEDROCK": " True "}, True),
        ({"CLAUDE_CODE_USE_BEDROCK": "0"}, False),
        ({"CLAUDE_CODE_USE_BEDROCK": ""}, False),
        ({"ANTHROPIC_BEDROCK_BASE_URL": "https://gateway"}, True),
        ({"ANTHROPIC_BEDROCK_BASE_URL": " "}, False),
    ],
)
def test_known_models_depend_on_bedrock_in_the_environment(env: dict[str, str], bedrock: bool) -> None:  # noqa: FBT001
    assert uses_bedrock(env) is bedrock
    assert known_models(env) == (BEDROCK_MODELS if bedrock else ANTHROPIC_MODELS)


def test_bedrock_models_have_native_ids() -> None:
    assert all("anthropic." in model.id for model in BEDROCK_MODELS)
    assert not any("anthropic." in model.id for model in ANTHROPIC_MODELS)


def test_known_models_start_with_the_environments_model() -> None:
    unlisted = known_models({"ANTHROPIC_MODEL": "house-blend-1"})
    assert unlisted == (Model("house-blend-1", "house-blend-1"), *ANTHROPIC_MODELS)
    listed = known_models({"ANTHROPIC_MODEL": ANTHROPIC_MODELS[3].id})
    assert listed[0] == ANTHROPIC_MODELS[3]
    assert sorted(model.id for model in listed) == sorted(model.id for model in ANTHROPIC_MODELS)


def test_models_of_the_api_come_first_and_replace_known_ones() -> None:
    live = (Model("claude-next", "Claude Next"), Model(ANTHROPIC_MODELS[0].id, "Another label"))
    models = with_live_models({}, live)
    assert models[:2] == live
    assert models[2:] == ANTHROPIC_MODELS[1:]


def test_read_live_list_labels_a_model_without_a_name_by_its_id() -> None:
    body = {
        "data": [
            {"type": "model", "id": "claude-next", "display_name": "Claude Next", "created_at": "2026-01-01"},
            {"id": "claude-plain"},
            {"id": " "},
            "junk",
        ],
        "has_more": False,
    }
    assert read_live_list(body) == (
        Model("claude-next", "Claude Next"),
        Model("claude-plain", "claude-plain"),
    )


@given(ANY_JSON | st.fixed_dictionaries({"data": ANY_JSON}))
def test_read_live_list_of_any_json_never_fails(body: object) -> None:
    assert all(model.id.strip() for model in read_live_list(body))


def test_detect_model_returns_the_model_of_the_environment() -> None:
    found = detect_model({"ANTHROPIC_MODEL": " claude-opus-5 "})
    assert found is not None
    assert (found["model"], found["provider"], found["source"]) == (
        "claude-opus-5",
        "anthropic",
        "ANTHROPIC_MODEL",
    )
    assert "claude-haiku-4-5" in found["candidates"]
    on_bedrock = detect_model({"ANTHROPIC_MODEL": "eu.anthropic.x", "CLAUDE_CODE_USE_BEDROCK": "1"})
    assert on_bedrock is not None
    assert on_bedrock["provider"] == "bedrock"


def test_detect_model_without_a_model_in_the_environment_is_none() -> None:
    assert detect_model({}) is None
    assert detect_model({"ANTHROPIC_MODEL": " "}) is None
