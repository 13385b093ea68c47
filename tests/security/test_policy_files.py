"""Which files and folders of the host a config may name under the default policy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_cluster import HomeCluster, home_cluster
from tests.support.in_memory_runs import GOOD, assert_whole, one_host

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.folder_rules import normal_path
from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES, SECRETS
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.policy_folders import HostFolders
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE

CANARY = "canary-of-the-host"


def make_instance(folder: Path) -> Path:
    """Make the folder of a Paperclip server, with a key and the instructions of an agent."""
    found = folder / "instances" / "default"
    for name in ("secrets/master.key", ".env", "companies/co/agents/a/codex-home/auth.json"):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(CANARY)
    (found / "workspaces" / "a").mkdir(parents=True)
    instructions = found / "companies" / "co" / "agents" / "a" / "instructions"
    instructions.mkdir()
    (instructions / "AGENTS.md").write_text("Count calmly.")
    return found


def settings_of_server(folder: Path, **policy: Any) -> ProcessSettings:
    return ProcessSettings(env={"PAPERCLIP_HOME": str(folder)}, policy=Policy(**policy))


async def run_with(folder: Path, config: dict[str, Any], **policy: Any) -> tuple[ExecutionResult, list[Any]]:
    """The result of a run, and what is in the cluster after it."""
    async with one_host(folder, GOOD, settings_of_server(folder, **policy)) as (fake, run):
        result, _ = await run(config=config)
        return result, [found for kind in (JOBS, SECRETS, LEASES) for found in fake.store.list(kind)]


def assert_refused(result: ExecutionResult, created: list[Any], field: str) -> None:
    assert result.error_code == "k8s_policy_refused", result.error_message
    assert field in (result.error_message or "")
    assert CANARY not in (result.error_message or "")
    assert created == []


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/shadow", "/proc/self/environ", "/proc/1/environ", "/dev/stdin", "/sys/kernel/notes"),
        *("//etc/shadow", "/./etc/passwd", "/paperclip/../etc/passwd"),
        *("{instance}/secrets/master.key", "{instance}/.env", "{instance}/workspaces/../.env"),
        "{instance}/companies/co/agents/a/codex-home/auth.json",
        "{instance}/companies/co/agents/a/instructions/../codex-home/auth.json",
    ],
)
async def test_instructions_outside_the_roots_are_refused(path: str, tmp_path: Path) -> None:
    path = path.replace("{instance}", str(make_instance(tmp_path)))
    assert_refused(*await run_with(tmp_path, {"instructionsFilePath": path}), "instructionsFilePath")


async def test_instructions_of_the_server_are_delivered(tmp_path: Path) -> None:
    path = make_instance(tmp_path) / "companies" / "co" / "agents" / "a" / "instructions" / "AGENTS.md"
    async with one_host(tmp_path, GOOD, settings_of_server(tmp_path)) as (_, run):
        result, host_log = await run(config={"instructionsFilePath": str(path)})
        assert_whole(result, host_log)
        assert "could not be read" not in host_log.status


async def test_link_out_of_the_roots_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    found = make_instance(tmp_path)
    link = found / "workspaces" / "a" / "AGENTS.md"
    link.symlink_to(found / "secrets" / "master.key")
    result, created = await run_with(tmp_path, {"instructionsFilePath": str(link)})
    assert_refused(result, created, "instructionRoots")
    folder = found / "workspaces" / "a" / "skill"
    folder.symlink_to(found / "secrets")
    assert_refused(*await run_with(tmp_path, with_skill(folder)), "skillRoots")


async def test_link_into_the_roots_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(make_instance(tmp_path) / "workspaces" / "a")
    (tmp_path / "link" / "AGENTS.md").write_text("Count calmly.")
    result, _ = await run_with(tmp_path, {"instructionsFilePath": str(tmp_path / "link" / "AGENTS.md")})
    assert result.error_message is None


def with_skill(source: Path | str) -> dict[str, Any]:
    skill = {"key": "co/one", "runtimeName": "one", "source": str(source)}
    return {"paperclipRuntimeSkills": [skill], "paperclipSkillSync": {"desiredSkills": ["co/one"]}}


@pytest.mark.parametrize("source", ["/root/.ssh", "/etc", "/proc/self", "{instance}/secrets", "{instance}"])
async def test_skill_outside_the_roots_is_refused(source: str, tmp_path: Path) -> None:
    source = source.replace("{instance}", str(make_instance(tmp_path)))
    assert_refused(*await run_with(tmp_path, with_skill(source)), "paperclipRuntimeSkills[co/one].source")


async def test_skill_that_is_not_selected_is_not_examined(tmp_path: Path) -> None:
    config = {**with_skill("/root/.ssh"), "paperclipSkillSync": {"desiredSkills": []}}
    result, _ = await run_with(tmp_path, config)
    assert result.error_message is None


@pytest.mark.parametrize(
    "path",
    [
        *("/paperclip/kubeconfig", "//paperclip/kubeconfig", "/srv/../paperclip/kubeconfig"),
        *("/proc/self/environ", "/dev/stdin", "/sys/kernel/notes", "{instance}/data/storage/upload"),
    ],
)
async def test_kubeconfig_where_others_write_is_refused(path: str, tmp_path: Path) -> None:
    path = path.replace("{instance}", str(make_instance(tmp_path)))
    assert_refused(*await run_with(tmp_path, {"kubeconfig": path}), "kubeconfig")


@asynccontextmanager
async def home_with_default_policy(folder: Path) -> AsyncIterator[HomeCluster]:
    async with home_cluster(folder) as home:
        env = {"HOSTNAME": "home-0", "PAPERCLIP_NAMESPACE": NAMESPACE}
        home.adapter = Adapter(ProcessSettings(env=env), lambda *_: home.fake.gateway)
        yield home


@pytest.mark.parametrize("target", ["/etc", "/", "/proc/1/root", "/root", "/dev/shm", "/var/lib"])  # noqa: S108
async def test_link_to_a_system_folder_is_no_shared_volume(target: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(target)
    async with home_with_default_policy(tmp_path) as home:
        for path in (target, str(tmp_path / "link"), f"//{target}", f"/tmp/../{target}"):  # noqa: S108
            result, _ = await home.run(config={"sharedVolumeDir": path})
            assert_refused(result, home.jobs, "sharedVolumeDir")


@pytest.mark.parametrize("path", [".", "..", "volume", "~", "~/volume"])
async def test_relative_folder_is_no_shared_volume(path: str, tmp_path: Path) -> None:
    async with home_with_default_policy(tmp_path) as home:
        result, _ = await home.run(config={"sharedVolumeDir": path})
        assert_refused(result, home.jobs, "sharedVolumeDir")


async def test_instructions_on_a_volume_that_only_the_config_names_are_refused(tmp_path: Path) -> None:
    async with home_with_default_policy(tmp_path) as home:
        (home.volume / "AGENTS.md").write_text(CANARY)
        result, _ = await home.run(config={"instructionsFilePath": str(home.volume / "AGENTS.md")})
        assert_refused(result, home.jobs, "instructionRoots")


VOLUME_OF_SERVER = HostFolders(Policy(), {"PAPERCLIP_HOME": "/paperclip"}, mount="/paperclip")
"""The rules of a server in a Pod, whose folder is on the volume that agents share."""


@pytest.mark.parametrize(
    "path",
    [
        *("secrets/master.key", ".env", "companies/co/agents/a/codex-home/auth.json", "../other/.env"),
        *("workspaces/../secrets", "", "..", "../.."),
    ],
)
def test_folder_of_the_server_on_the_shared_volume_is_private(path: str) -> None:
    path = normal_path(f"/paperclip/instances/default/{path}")
    for rule in (VOLUME_OF_SERVER.instructions, VOLUME_OF_SERVER.skills, VOLUME_OF_SERVER.uploads):
        assert not rule("/paperclip").allows(path)


def test_folders_for_agents_in_the_folder_of_the_server_are_allowed() -> None:
    instance, volume = "/paperclip/instances/default", "/paperclip"
    assert VOLUME_OF_SERVER.instructions(volume).allows(f"{instance}/companies/co/agents/a/instructions/A.md")
    assert VOLUME_OF_SERVER.skills(volume).allows(f"{instance}/skills/one")
    assert VOLUME_OF_SERVER.uploads(volume).allows(f"{instance}/projects/one")
    assert VOLUME_OF_SERVER.uploads(volume).allows("/paperclip/projects/one")


def test_folder_with_settings_of_all_agents_is_not_uploaded() -> None:
    """The host's user writes the agent's changes of an upload, so its `.mcp.json` would be trusted."""
    for path in ("/paperclip", "/paperclip/.claude", "/paperclip/.paperclip/instances"):
        assert not HostFolders(Policy(), env={}, mount="/paperclip").uploads("/paperclip").allows(path)


async def test_skills_page_lists_only_folders_that_the_policy_allows(tmp_path: Path) -> None:
    (tmp_path / ".claude" / "skills" / "private").mkdir(parents=True)
    ctx = {"config": {"sharedVolumeDir": str(tmp_path)}}
    shown = await Adapter(ProcessSettings(policy=Policy(shared_volume_dirs=()))).list_skills(ctx)
    assert "private" not in str(shown)
    shown = await Adapter(ProcessSettings()).list_skills(ctx)
    assert "private" in str(shown)
