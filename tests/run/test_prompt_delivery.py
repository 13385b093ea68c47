"""Prompts that are delivered by an init container or on the shared volume."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_cluster import home_cluster
from tests.support.in_memory_runs import GOOD, WHOLE

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, PodScript

pytestmark = pytest.mark.looptime
HUGE = {"taskId": "t", "paperclipTaskMarkdown": "x" * 2 * 1024 * 1024}


async def test_large_prompt_is_staged_on_the_volume_during_its_run(tmp_path: Path) -> None:
    staged_prompts: list[tuple[str, int]] = []

    def pod_script_of(pod: dict[str, Any]) -> PodScript:
        if pod["metadata"]["name"] == "home-0":
            return GOOD
        (path,) = (tmp_path / "volume" / "run-files").rglob("prompt.txt")
        staged_prompts.append((path.parent.name, path.stat().st_size))
        return GOOD

    async with home_cluster(tmp_path, pod_script_of) as home:
        result, host_log = await home.run(context=HUGE)
        assert result.error_message is None, host_log.status
        ((folder, size),) = staged_prompts
        assert folder == home.jobs[0]["metadata"]["name"]
        assert size > 2 * 1024 * 1024
        assert home.staged == []


async def test_volume_that_does_not_respond_in_time_fails_the_run(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        env = {"HOSTNAME": "home-0", "PAPERCLIP_NAMESPACE": NAMESPACE}
        settings = ProcessSettings(env=env, timings=Timings(host_links=0))  # no time for the volume's path
        home.adapter = Adapter(settings, lambda *_: home.fake.gateway)
        result, _ = await home.run()
        assert result.error_code == "k8s_config_invalid"
        assert "check its mount" in (result.error_message or "")
        assert home.fake.calls.count("create", "jobs") == 0


async def test_run_whose_volume_is_too_slow_for_its_files_fails(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        env = {"HOSTNAME": "home-0", "PAPERCLIP_NAMESPACE": NAMESPACE}
        settings = ProcessSettings(env=env, timings=Timings(volume_files=0))
        home.adapter = Adapter(settings, lambda *_: home.fake.gateway)
        result, _ = await home.run()
        assert result.error_code == "k8s_config_invalid"
        assert "within 0 s" in (result.error_message or "")
        assert home.fake.calls.count("create", "jobs") == 0


async def test_large_prompt_without_a_volume_is_too_large(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        result, _ = await home.run(context=HUGE, config={"sharedVolumeDir": str(tmp_path / "nowhere")})
        assert result.error_code == "k8s_prompt_too_large"
        assert "sharedVolumeDir" in (result.error_message or "")
        assert home.fake.calls.count("create", "jobs") == 0


async def test_staging_error_names_the_volume(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        (home.volume / "run-files").write_text("a file in the way")
        result, _ = await home.run(context=HUGE)
        assert result.error_code == "k8s_prompt_too_large"
        assert "writing it to the shared volume failed: Not a directory" in (result.error_message or "")


async def test_staged_files_of_a_failed_launch_are_removed(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.denied.add(("create", "jobs"))
        result, _ = await home.run(context=HUGE)
        assert result.error_code == "k8s_job_create_failed"
        assert home.staged == []


async def test_staged_files_of_a_killed_host_expire_after_a_week(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        for name, days in (("ac-old", 8), ("ac-new", 6)):
            folder = home.volume / "run-files" / name
            folder.mkdir(parents=True)
            (folder / "prompt.txt").write_text("x")
            then = home.adapter._settings.now().timestamp() - days * 24 * 3600  # noqa: SLF001
            os.utime(folder, (then, then))
        await home.run(context=HUGE)
        assert home.staged == ["ac-new/prompt.txt"]


# `promptDelivery: init` ---------------------------------------------------------------------------------


async def test_init_delivery_uses_an_init_container(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        result, _ = await home.run(config={"promptDelivery": "init"})
        assert result.error_message is None
        job = home.jobs[-1]
        (writer,) = job["spec"]["template"]["spec"]["initContainers"]
        assert writer["name"] == "write-prompt"
        assert list(home.fake.store.list(JOBS)) == []


async def test_init_delivery_without_leases_is_refused(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.denied.add(("create", "leases"))
        result, _ = await home.run(config={"promptDelivery": "init"})
        assert result.error_code == "k8s_config_invalid"
        assert "promptDelivery init needs Leases" in (result.error_message or "")
        assert home.fake.calls.count("create", "jobs") == 0


async def test_init_delivery_in_place_of_a_denied_secret_needs_kubernetes_1_29(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.replaces_terminating_pods = True  # as servers before 1.29 do
        home.fake.faults.denied.add(("create", "secrets"))
        result, _ = await home.run()
        assert result.error_code == "k8s_config_invalid"
        needs = "promptDelivery init needs Kubernetes 1.29 or newer, this cluster has 1.28"
        assert needs in (result.error_message or "")
        assert list(home.fake.store.list(JOBS)) == []


async def test_init_delivery_is_allowed_on_an_old_server_if_secrets_can_be_created(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.replaces_terminating_pods = True  # as servers before 1.29 do
        result, _ = await home.run(config={"promptDelivery": "init"})
        assert result.error_message is None
        (job,) = home.jobs
        env = {entry["name"]: entry for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert env["PAPERCLIP_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == job["metadata"]["name"]


async def test_run_without_right_to_secrets_reports_what_is_missing(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.denied.add(("create", "secrets"))
        result, host_log = await home.run()
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        assert "the prompt goes by an init container instead" in host_log.status
        assert "runs without ANTHROPIC_CUSTOM_HEADERS, PAPERCLIP_API_KEY" in host_log.status
        assert all("canary" not in str(job) for job in home.jobs)  # as in the auth token
        assert list(home.fake.store.list(JOBS)) == []


@pytest.mark.parametrize(
    ("message", "family"),
    [
        ('secrets "x" is forbidden: exceeded quota: few, requested: secrets=1', "transient_upstream"),
        ('admission webhook "policy" denied the request: no Secrets by hand', None),
    ],
)
async def test_secret_refused_by_quota_or_policy_fails_the_run(
    tmp_path: Path, message: str, family: str | None
) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.refuse("create", "secrets", 403, times=1, message=message)
        result, _ = await home.run()
        assert result.error_code == "k8s_prompt_secret_create_failed"
        assert result.error_family == family
