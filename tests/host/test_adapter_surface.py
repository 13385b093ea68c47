"""The members of the adapter object: their names in both spellings, and their shapes."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic.alias_generators import to_camel
from tests.support.api_server import serving

from paperclip_claude_k8s import create_server_adapter
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.ports import ProcessSettings

MEMBERS = (
    "type",
    "label",
    "execute",
    "session_codec",
    "session_management",
    "models",
    "list_models",
    "refresh_models",
    "detect_model",
    "list_skills",
    "sync_skills",
    "get_config_schema",
    "get_quota_windows",
    "agent_configuration_doc",
    "supports_local_agent_jwt",
    "supports_instructions_bundle",
    "instructions_path_key",
    "requires_materialized_runtime_skills",
    "runtime_tool_delivery",
    "has_out_of_process_liveness",
)


def an_adapter(**env: str) -> Any:
    return Adapter(ProcessSettings(env=env))


@pytest.mark.parametrize("name", MEMBERS)
def test_adapter_member_has_camel_case_and_snake_case_name(name: str) -> None:
    adapter: Any = create_server_adapter()
    assert getattr(adapter, name) == getattr(adapter, to_camel(name))


def test_adapter_has_no_unknown_member_and_can_be_copied() -> None:
    adapter = an_adapter()
    for name in ("nothing", "noSuchThing", "_private", "__wrapped__"):
        assert not hasattr(adapter, name)
    assert copy.copy(adapter).type == "claude_k8s"


def test_adapter_flags_are_those_of_the_host_contract() -> None:
    adapter = an_adapter()
    assert adapter.supports_local_agent_jwt is True
    assert adapter.supports_instructions_bundle is True
    assert adapter.instructions_path_key == "instructionsFilePath"
    assert adapter.requires_materialized_runtime_skills is False
    assert adapter.has_out_of_process_liveness is True
    assert adapter.runtime_tool_delivery == "native_mcp"
    assert adapter.session_management["supportsSessionResume"] is True


def test_adapter_data_members_are_json() -> None:
    adapter = an_adapter()
    for name in ("session_management", "models", "agent_configuration_doc"):
        assert json.loads(json.dumps(getattr(adapter, name))) == getattr(adapter, name)
    assert json.dumps(adapter.get_config_schema())


async def test_adapter_models_form_and_quota_depend_on_the_environment() -> None:
    adapter = an_adapter(ANTHROPIC_MODEL="eu.anthropic.own", CLAUDE_CODE_USE_BEDROCK="1")
    assert (await adapter.detect_model())["model"] == "eu.anthropic.own"
    assert await adapter.list_models() == adapter.models == await adapter.refreshModels()
    assert adapter.models[0]["id"] == "eu.anthropic.own"
    fields = {field["key"]: field for field in adapter.get_config_schema()["fields"]}
    assert fields["model"]["options"][0]["value"] == "eu.anthropic.own"
    assert (await adapter.get_quota_windows())["source"] == "bedrock"


async def test_adapter_refresh_models_returns_the_api_list_first() -> None:
    async def list_models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "claude-next", "display_name": "Next"}]})

    async with serving(list_models) as url:
        adapter = Adapter(ProcessSettings(env={"ANTHROPIC_API_KEY": "k"}), anthropic=url)
        assert (await adapter.refresh_models())[0] == {"id": "claude-next", "label": "Next"}


async def test_adapter_lists_skills_and_sync_skills_shows_the_new_selection(tmp_path: Path) -> None:
    (tmp_path / ".claude/skills/manual").mkdir(parents=True)
    config = {
        "sharedVolumeDir": str(tmp_path),
        "paperclipRuntimeSkills": [
            {"key": "a", "runtimeName": "a", "source": "/s/a"},
            {"key": "b", "runtimeName": "b", "source": "/s/b"},
        ],
        "paperclipSkillSync": {"desiredSkills": ["a"]},
    }
    ctx = {"agentId": "ada", "companyId": "co", "adapterType": "claude_k8s", "config": config}
    adapter = an_adapter()
    listed = await adapter.list_skills(ctx)
    assert [(e["key"], e["state"]) for e in listed["entries"]] == [
        ("a", "configured"),
        ("b", "available"),
        ("manual", "external"),
    ]
    assert (await adapter.sync_skills(ctx, ["b"]))["desiredSkills"] == ["b"]
    assert (await adapter.list_skills({}))["entries"] == []
