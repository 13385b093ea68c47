"""Paths and lists of paths of any length in config, context and kubeconfig do not keep other runs waiting."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import write_kubeconfig
from tests.support.in_memory_runs import GOOD, one_host
from tests.support.plans import a_context, a_plan

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import LIMITS, Timings
from paperclip_claude_k8s.base.threads import place_of
from paperclip_claude_k8s.cluster.kubeconfig import KubeconfigReader, KubeconfigRules
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.session import decide_resume
from paperclip_claude_k8s.plan.bundle import BundleFile, PathRefused, skill_files
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.paths import to_pod_path
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.admit import find_refusals
from paperclip_claude_k8s.volume.run_log_file import run_log_of

LONG = "/" + "a/" * 20_000
"""Each part of this path was copied for each folder above it: 400 million copies, 7 s and 2 GB of memory."""
MANY = "/a:" * 133_000


@pytest.fixture
def _little_time() -> Iterator[None]:
    """Fails a test that takes 3 s of CPU time."""
    began = time.process_time()
    yield
    assert time.process_time() - began < 3


pytestmark = pytest.mark.usefixtures("_little_time")


@pytest.mark.parametrize(
    "config",
    [
        *({key: LONG} for key in ("instructionsFilePath", "sharedVolumeDir", "kubeconfig", "cwd")),
        {"kubeconfig": MANY},
        {"kubeconfig": f"/k:~/{'ä' * LIMITS.path_bytes}"},
    ],
)
async def test_long_path_is_an_error_of_its_setting(tmp_path: Path, config: dict[str, Any]) -> None:
    (key,) = config
    async with one_host(tmp_path, GOOD) as (_, run):
        result, _ = await run(config=config)
        checkup = await Adapter(ProcessSettings()).test_environment({"config": config})
    assert result.error_code == "k8s_config_invalid"
    assert f"config.{key}: expected " in (result.error_message or "")
    assert f"{LIMITS.path_bytes} bytes" in (result.error_message or "")
    assert [f"config.{key}: expected" in check.message for check in checkup.checks] == [True]


@pytest.mark.parametrize("setting", ["auto", "upload", "none"])
async def test_long_workspace_folder_is_an_error_of_the_context(tmp_path: Path, setting: str) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        context = {"taskId": "t", "paperclipWorkspace": {"cwd": LONG}}
        result, _ = await run(context=context, config={"workspace": setting})
    assert result.error_code == "k8s_config_invalid"
    assert f"ctx.context.paperclipWorkspace.cwd has more than {LIMITS.path_bytes} bytes" in (
        result.error_message or ""
    )


@pytest.mark.parametrize("folder", ["", "/paperclip"])
async def test_skill_with_a_long_path_is_left_out(tmp_path: Path, folder: str) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        skill = {"name": "s", "source": f"{folder}{LONG}"}
        config = {"paperclipRuntimeSkills": [skill], "paperclipSkillSync": {"desiredSkills": ["s"]}}
        result, log = await run(config=config)
    assert result.error_code is None, result.error_message
    assert f"Skill s is left out: its path has more than {LIMITS.path_bytes} bytes" in log.status


async def test_skills_page_with_a_long_volume_path_lists_no_folder_of_the_host() -> None:
    page = await Adapter(ProcessSettings()).list_skills({"config": {"sharedVolumeDir": LONG}})
    assert page["entries"] == []


async def test_skills_page_lists_no_folder_of_a_volume_under_an_unusable_policy(tmp_path: Path) -> None:
    (tmp_path / ".claude" / "skills" / "mine").mkdir(parents=True)
    ctx = {"config": {"sharedVolumeDir": str(tmp_path)}}
    usable, unusable = ProcessSettings(), ProcessSettings(policy_error="/policy.yaml: it does not exist")
    pages = [await Adapter(settings).list_skills(ctx) for settings in (usable, unusable)]
    assert [[entry["key"] for entry in page["entries"]] for page in pages] == [["mine"], []]


@pytest.mark.parametrize("key", ["tokenFile", "client-certificate"])
async def test_long_path_in_a_kubeconfig_is_an_error(tmp_path: Path, key: str) -> None:
    path = "a/" * 400_000
    kubeconfig = write_kubeconfig(tmp_path, "https://127.0.0.1:1", user={key: path})
    reader = KubeconfigReader(KubeconfigRules(), LIMITS, Timings())
    user = (await reader.read(kubeconfig)).user
    with pytest.raises(ClusterError, match=f"names a {key} that .* more than {LIMITS.path_bytes} bytes"):
        await reader.named_file(user, key, path)


async def test_many_skills_in_folders_that_are_refused_are_refused_in_little_time() -> None:
    source = ("/other" + LONG)[: LIMITS.path_bytes]
    skills = [{"name": f"s{number}", "source": source} for number in range(1000)]
    desired = [skill["name"] for skill in skills]
    given = {"paperclipRuntimeSkills": skills, "paperclipSkillSync": {"desiredSkills": desired}}
    refusals = await find_refusals(given, AdapterConfig.read(given), ProcessSettings())
    assert 1 < len(refusals) < 100
    assert refusals[0].key == "paperclipRuntimeSkills[s0].source"


def test_longest_path_is_accepted() -> None:
    longest = ("/" + "ä" * LIMITS.path_bytes)[: LIMITS.path_bytes // 2] + "b"
    assert len(os.fsencode(longest)) == LIMITS.path_bytes
    kubeconfigs = os.pathsep.join([longest] * LIMITS.kubeconfig_files)
    assert AdapterConfig.read({"kubeconfig": f"::{kubeconfigs}::"}).kubeconfig == f"::{kubeconfigs}::"
    assert AdapterConfig.read({"instructionsFilePath": f" {longest} "}).instructions_file_path == longest
    for key, value in (("kubeconfig", f"{kubeconfigs}:/k"), ("instructionsFilePath", f"{longest}b")):
        with pytest.raises(ConfigInvalid, match=key):
            AdapterConfig.read({key: value})


@pytest.mark.parametrize("path", ["/proc/self/x", "/proc", f"/proc{LONG}", f"/proc/{'a/' * 4_000_000}"])
def test_mount_point_of_a_long_path_is_found_in_little_time(path: str) -> None:
    assert place_of(path) == "/proc"


def test_many_paths_of_a_context_are_translated_in_little_time() -> None:
    volume = LONG[: LIMITS.path_bytes]
    workspaces, roots = [{"cwd": "/a"}] * 90_000, "/a:" * 300_000
    ctx = a_context(context={"taskId": "t", "paperclipWorkspaces": workspaces})
    plan = a_plan(ctx, sharedVolumeDir=volume, env={"PAPERCLIP_GIT_METADATA_ROOTS": roots})
    values = job_manifest(plan)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "PAPERCLIP_GIT_METADATA_ROOTS" not in {entry["name"] for entry in values}


def test_session_of_a_long_folder_is_not_resumed() -> None:
    params = {"sessionId": "5b2f899d-026f-4619-ac69-4537ef7d22eb", "cwd": "/" + "a/" * 4_000_000}
    decision = decide_resume(a_context(runtime={"sessionParams": params}), cwd="/paperclip")
    assert decision.session_id is None
    assert len(decision.reason or "") < 2 * LIMITS.path_bytes


def test_long_name_of_a_skill_is_refused_before_its_files_are_named() -> None:
    """The name is part of the path of each file: 2,000 names of 1 MB would take 2 GB."""
    with pytest.raises(PathRefused, match="cannot be the name of a file or folder"):
        skill_files("x" * 1_000_000, {f"file-{number}": BundleFile(b"") for number in range(2000)})
    assert [*skill_files("x" * 255, {"a": BundleFile(b"")})] == [f".claude/skills/{'x' * 255}/a"]


def test_run_log_with_a_long_path_in_an_annotation_is_not_read() -> None:
    assert run_log_of("/paperclip", f"run-logs/{'a/' * 100_000}x") is None


def test_long_path_of_a_context_is_in_no_pod() -> None:
    assert to_pod_path(f"/paperclip{LONG}", "/paperclip") is None
    assert to_pod_path("/paperclip/a", "/paperclip") == "/paperclip/a"
