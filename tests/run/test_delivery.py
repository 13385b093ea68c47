"""Runs that deliver their prompt otherwise: by an init container, or over the shared volume."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_cluster import NAMESPACE, FakeCluster, Life
from tests.support.runs import Heard, capture

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings

pytestmark = pytest.mark.looptime
GOOD = Life(output=((0.0, capture("02")),), ends_at=2.0)
HUGE = {"taskId": "t", "paperclipTaskMarkdown": "x" * 2 * 1024 * 1024}


class Bench:
    """A cluster in memory with a home pod, whose volume is a folder here."""

    def __init__(self, fake: FakeCluster, volume: Path) -> None:
        env = {"HOSTNAME": "home-0", "PAPERCLIP_NAMESPACE": NAMESPACE}
        self.fake, self.volume = fake, volume
        self.adapter = Adapter(ProcessSettings(env=env), lambda *_: fake.gateway)
        self.jobs: list[dict[str, Any]] = []
        container = {
            "name": "paperclip",
            "image": "i",
            "volumeMounts": [{"name": "v", "mountPath": "/paperclip"}],
        }
        spec = {
            "containers": [container],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        }
        fake.store.create(
            PODS, {"metadata": {"name": "home-0", "namespace": NAMESPACE}, "spec": spec, "status": {}}
        )

    async def run(self, **more: Any) -> tuple[ExecutionResult, Heard]:
        heard = Heard()

        async def on_log(stream: str, text: str) -> None:
            self.jobs += [job for job in self.fake.store.list(JOBS) if job not in self.jobs]
            await heard.on_log(stream, text)

        ctx = {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "co"},
            "config": {"sharedVolumeDir": str(self.volume), "teeRunLog": False, **more.pop("config", {})},
            "context": {"taskId": "t", "paperclipTaskMarkdown": "Say hello."},
            "authToken": "canary-token",
            "onLog": on_log,
            **more,
        }
        return await self.adapter.execute(ctx), heard

    @property
    def staged(self) -> list[str]:
        folder = self.volume / "run-files"
        return [str(path.relative_to(folder)) for path in folder.rglob("*.txt")] if folder.exists() else []


@asynccontextmanager
async def opened(folder: Path, life: Any = GOOD) -> AsyncIterator[Bench]:
    volume = folder / "volume"
    volume.mkdir()
    async with FakeCluster.start(folder, life) as fake:
        bench = Bench(fake, volume)
        try:
            yield bench
        finally:
            await bench.adapter.shutdown()


async def test_a_large_prompt_lies_on_the_volume_while_its_run_lasts(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def life(pod: dict[str, Any]) -> Life:
        if pod["metadata"]["name"] == "home-0":
            return GOOD
        (path,) = (tmp_path / "volume" / "run-files").rglob("prompt.txt")
        seen.append((path.parent.name, path.stat().st_size))
        return GOOD

    async with opened(tmp_path, life) as bench:
        result, heard = await bench.run(context=HUGE)
        assert result.error_message is None, heard.status
        ((folder, size),) = seen
        assert folder == bench.jobs[0]["metadata"]["name"]
        assert size > 2 * 1024 * 1024
        assert bench.staged == []


async def test_a_large_prompt_without_a_volume_here_is_told_to_be_too_large(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        result, _ = await bench.run(context=HUGE, config={"sharedVolumeDir": str(tmp_path / "nowhere")})
        assert result.error_code == "k8s_prompt_too_large"
        assert "sharedVolumeDir" in (result.error_message or "")
        assert bench.fake.calls.count("create", "jobs") == 0


async def test_a_volume_that_refuses_the_prompt_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        (bench.volume / "run-files").write_text("a file in the way")
        result, _ = await bench.run(context=HUGE)
        assert result.error_code == "k8s_prompt_too_large"
        assert "writing it to the shared volume failed: Not a directory" in (result.error_message or "")


async def test_what_a_failed_launch_has_staged_is_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        bench.fake.faults.denied.add(("create", "jobs"))
        result, _ = await bench.run(context=HUGE)
        assert result.error_code == "k8s_job_create_failed"
        assert bench.staged == []


async def test_what_a_dead_host_left_staged_a_week_ago_is_swept(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        for name, age in (("ac-old", 8), ("ac-new", 6)):
            folder = bench.volume / "run-files" / name
            folder.mkdir(parents=True)
            (folder / "prompt.txt").write_text("x")
            then = bench.adapter._settings.now().timestamp() - age * 24 * 3600  # noqa: SLF001
            os.utime(folder, (then, then))
        await bench.run(context=HUGE)
        assert bench.staged == ["ac-new/prompt.txt"]


# Init ----------------------------------------------------------------------------------------------------


async def test_init_delivers_the_prompt_by_an_init_container(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        result, _ = await bench.run(config={"promptDelivery": "init"})
        assert result.error_message is None
        (job,) = bench.jobs[-1:]
        (writer,) = job["spec"]["template"]["spec"]["initContainers"]
        assert writer["name"] == "write-prompt"
        assert list(bench.fake.store.list(JOBS)) == []


async def test_init_without_leases_is_refused_for_want_of_a_gate(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as bench:
        bench.fake.faults.denied.add(("create", "leases"))
        result, _ = await bench.run(config={"promptDelivery": "init"})
        assert result.error_code == "k8s_config_invalid"
        assert "promptDelivery init needs Leases" in (result.error_message or "")
        assert bench.fake.calls.count("create", "jobs") == 0


async def test_without_a_run_secret_an_old_server_is_refused_as_it_would_start_a_second_agent(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as bench:
        bench.fake.faults.replaces_dying_pods = True
        bench.fake.faults.denied.add(("create", "secrets"))
        result, _ = await bench.run()
        assert result.error_code == "k8s_config_invalid"
        needs = "promptDelivery init needs Kubernetes 1.29 or newer, this cluster has 1.28"
        assert needs in (result.error_message or "")
        assert list(bench.fake.store.list(JOBS)) == []


async def test_init_with_a_run_secret_holds_a_second_pod_back_on_an_old_server_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        bench.fake.faults.replaces_dying_pods = True
        result, _ = await bench.run(config={"promptDelivery": "init"})
        assert result.error_message is None
        (job,) = bench.jobs
        env = {entry["name"]: entry for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert env["PAPERCLIP_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == job["metadata"]["name"]


async def test_where_secrets_are_forbidden_the_run_goes_without_them_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        bench.fake.faults.denied.add(("create", "secrets"))
        result, heard = await bench.run()
        assert result.error_message is None
        assert heard.stdout.encode() == capture("02")
        assert "the prompt goes by an init container instead" in heard.status
        assert "runs without ANTHROPIC_CUSTOM_HEADERS, PAPERCLIP_API_KEY" in heard.status
        assert all("canary" not in str(job) for job in bench.jobs)
        assert list(bench.fake.store.list(JOBS)) == []


@pytest.mark.parametrize(
    ("words", "family"),
    [
        ('secrets "x" is forbidden: exceeded quota: few, requested: secrets=1', "transient_upstream"),
        ('admission webhook "policy" denied the request: no Secrets by hand', None),
    ],
)
async def test_a_quota_or_a_policy_on_secrets_is_no_ban_and_told_as_it_is(
    tmp_path: Path, words: str, family: str | None
) -> None:
    async with opened(tmp_path) as bench:
        bench.fake.faults.refuse("create", "secrets", 403, times=1, message=words)
        result, _ = await bench.run()
        assert result.error_code == "k8s_prompt_secret_create_failed"
        assert result.error_family == family
