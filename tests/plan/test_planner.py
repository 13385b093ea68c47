"""Which model a plan passes to the CLI, and what it notes about the workspace."""

from typing import Any

import pytest
from tests.support.plans import a_context, a_plan

from paperclip_claude_k8s.cluster.model import HomePod, JsonObject

BEDROCK_ON = {"CLAUDE_CODE_USE_BEDROCK": "1"}
BEDROCK_OFF = {"CLAUDE_CODE_USE_BEDROCK": "0"}
BEDROCK_URL = {"ANTHROPIC_BEDROCK_BASE_URL": "https://b.example"}
BEDROCK_ID = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
BEDROCK_ARN = "arn:aws:bedrock:eu-west-1:1:inference-profile/x"


@pytest.mark.parametrize(
    ("model", "env", "passed_model"),
    [
        (None, {}, None),
        (None, BEDROCK_ON, None),
        ("claude-opus-5", {}, "claude-opus-5"),
        ("claude-opus-5", BEDROCK_OFF, "claude-opus-5"),
        ("claude-opus-5", BEDROCK_ON, None),
        ("claude-opus-5", BEDROCK_URL, None),
        ("opus", BEDROCK_ON, None),
        (BEDROCK_ID, BEDROCK_ON, BEDROCK_ID),
        ("anthropic.claude-3-haiku-20240307-v1:0", BEDROCK_ON, "anthropic.claude-3-haiku-20240307-v1:0"),
        (BEDROCK_ARN, BEDROCK_ON, BEDROCK_ARN),
        (BEDROCK_ID, {}, BEDROCK_ID),
    ],
)
def test_only_bedrock_model_ids_are_passed_on_bedrock(
    model: str | None, env: dict[str, str], passed_model: str | None
) -> None:
    plan = a_plan(model=model, env=env)
    flags = dict(zip(plan.argv, plan.argv[1:], strict=False))
    assert flags.get("--model") == passed_model
    notes = [note for note in plan.notes if note.startswith("Model ")]
    assert bool(notes) is (model is not None and passed_model is None)


def test_unresolved_bedrock_switch_is_assumed_on() -> None:
    entry: JsonObject = {"name": "CLAUDE_CODE_USE_BEDROCK", "valueFrom": {"configMapKeyRef": {"name": "c"}}}
    home = HomePod(namespace="ns", name="h", image="i", env=[entry])
    options: dict[str, Any] = {"home": home, "model": "claude-opus-5"}
    assert "--model" not in a_plan(**options).argv


@pytest.mark.parametrize(
    ("cwd", "workdir", "lacks_files"),
    [
        ("/paperclip/ws", "/paperclip/ws", False),
        ("/srv/ws", "/paperclip", True),
        ("", "/paperclip", False),
        (None, "/paperclip", False),
    ],
)
def test_workspace_that_is_not_on_the_shared_volume_lacks_files(
    cwd: str | None,
    workdir: str,
    lacks_files: bool,  # noqa: FBT001  # a column of the table
) -> None:
    plan = a_plan(a_context(context={"paperclipWorkspace": {"cwd": cwd}}))
    assert plan.workdir == workdir
    assert plan.workspace.lacks_files is lacks_files
