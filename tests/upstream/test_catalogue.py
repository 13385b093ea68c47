"""Form, models, skills and folders are those of the TypeScript adapter, or differ on purpose."""

from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.context import ContextInvalid, ExecutionContext
from paperclip_claude_k8s.host.skills import read_desired_skills, read_skill_library, snapshot
from paperclip_claude_k8s.plan.bundle import PathRefused, bundle_folder
from paperclip_claude_k8s.ports import ProcessSettings


def field(key: str) -> dict[str, Any]:
    (found,) = (each for each in Adapter().get_config_schema()["fields"] if each["key"] == key)
    return dict(found)


def models(**env: str) -> list[str]:
    return [model["id"] for model in Adapter(ProcessSettings(env=env)).models]


def entry(key: str, **more: Any) -> dict[str, Any]:
    name = key.rpartition("/")[2]
    return {"key": key, "runtimeName": name, "source": f"/skills/{name}", "required": False, **more}


def skills(
    *entries: dict[str, Any], desired: list[str] | None = None, installed: dict[str, str] | None = None
) -> dict[str, Any]:
    config = {
        "paperclipRuntimeSkills": list(entries),
        "paperclipSkillSync": {"desiredSkills": desired or []},
    }
    library = read_skill_library(config)
    return snapshot("claude_k8s", library, read_desired_skills(config, library), installed)


# ── Form ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "kind", "default"),
    [("maxTurnsPerRun", "number", 0), ("reattachOrphanedJobs", "toggle", True)],
)
def test_field_has_type_and_default(key: str, kind: str, default: object) -> None:
    assert (field(key)["type"], field(key)["default"]) == (kind, default)
    assert_typescript_adapter_differs("the form gives a new agent 1000 turns per run")


def test_pull_policy_is_chosen_from_a_list() -> None:
    found = field("imagePullPolicy")
    assert found["type"] == "select"
    assert [option["value"] for option in found["options"]] == ["IfNotPresent", "Always", "Never"]


@pytest.mark.parametrize(
    "key", ["model", "dangerouslySkipPermissions", "instructionsFilePath", "timeoutSec", "graceSec"]
)
def test_form_has_fields_that_hosts_provide_too(key: str) -> None:
    assert field(key)
    assert_typescript_adapter_differs("the form has no fields for model")


# ── Models ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("env", [{}, {"ANTHROPIC_BEDROCK_BASE_URL": "   "}])
def test_models_of_the_public_api_are_the_default(env: dict[str, str]) -> None:
    assert {"claude-opus-4-7", "claude-opus-4-6"} <= set(models(**env))
    assert not any("anthropic." in model for model in models(**env))


@pytest.mark.parametrize(
    "env",
    [
        {"CLAUDE_CODE_USE_BEDROCK": "1"},
        {"CLAUDE_CODE_USE_BEDROCK": "true"},
        {"ANTHROPIC_BEDROCK_BASE_URL": "https://bedrock.us-east-1.amazonaws.com"},
    ],
)
def test_models_of_bedrock_are_listed_if_the_host_uses_it(env: dict[str, str]) -> None:
    assert any("anthropic." in model for model in models(**env))
    assert not any(model.startswith("claude-") for model in models(**env))


# ── Skills ───────────────────────────────────────────────────────────────────────────────────────


def test_snapshot_without_skills_is_empty() -> None:
    found = skills()
    assert (found["adapterType"], found["supported"], found["mode"]) == ("claude_k8s", True, "ephemeral")
    assert (found["entries"], found["warnings"]) == ([], [])


def test_chosen_skill_is_configured() -> None:
    (found,) = skills(entry("paperclip/skill-a"), desired=["paperclip/skill-a"])["entries"]
    assert (found["state"], found["desired"], found["origin"]) == ("configured", True, "company_managed")


def test_required_skill_is_marked() -> None:
    (found,) = skills(entry("paperclip/core", required=True), desired=["paperclip/core"])["entries"]
    assert (found["state"], found["origin"]) == ("configured", "company_managed")
    assert_typescript_adapter_differs("the origin of required skills is `paperclip_required`")


def test_chosen_skill_that_is_missing_is_a_warning() -> None:
    found = skills(desired=["missing/skill"])
    assert [each["state"] for each in found["entries"]] == ["missing"]
    assert len(found["warnings"]) == 1
    assert "missing/skill" in found["warnings"][0]


def test_skill_that_a_user_installed_is_external() -> None:
    folder = "/paperclip/.claude/skills/user-skill"
    (found,) = skills(installed={"user-skill": folder})["entries"]
    assert (found["state"], found["origin"], found["managed"]) == ("external", "user_installed", False)


def test_installed_skill_of_the_library_is_listed_once() -> None:
    found = skills(entry("paperclip/skill-a"), installed={"skill-a": "/paperclip/.claude/skills/skill-a"})
    assert [each["key"] for each in found["entries"]] == ["paperclip/skill-a"]


def test_skills_are_sorted_by_key() -> None:
    found = skills(entry("paperclip/zebra"), entry("paperclip/alpha"))
    assert [each["key"] for each in found["entries"]] == ["paperclip/alpha", "paperclip/zebra"]


async def test_choosing_skills_stores_nothing_and_returns_the_same_page() -> None:
    config = {"paperclipRuntimeSkills": [entry("paperclip/skill-a")]}
    chosen = {**config, "paperclipSkillSync": {"desiredSkills": ["paperclip/skill-a"]}}
    listed = await Adapter().list_skills({"config": chosen})
    assert await Adapter().sync_skills({"config": config}, ["paperclip/skill-a"]) == listed


# ── Folders of bundles ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("company", ["..", "../x", "a/b", "a\\b", "a\0b"])
def test_company_that_is_no_folder_name_is_refused(company: str) -> None:
    with pytest.raises(PathRefused):
        bundle_folder({}, company, "/paperclip")


async def _on_log(_stream: str, _text: str) -> None:
    pass


@pytest.mark.parametrize("company", ["", "   "])
def test_empty_company_is_refused(company: str) -> None:
    ctx = {"runId": "r", "agent": {"id": "a", "companyId": company}, "onLog": _on_log}
    with pytest.raises(ContextInvalid, match="companyId"):
        ExecutionContext.read(ctx)


def test_folder_of_a_bundle_names_the_company() -> None:
    assert "acme-co" in str(bundle_folder({}, "acme-co", "/paperclip"))
