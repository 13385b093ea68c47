"""A cluster in memory with a home pod whose shared volume is a local folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.in_memory_runs import GOOD
from tests.support.policies import TEMPORARY_FOLDERS

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog


class HomeCluster:
    """A cluster with the home pod `home-0`, and an adapter that runs in that Pod.

    `jobs`: all states of Jobs, as they were at each line that the adapter wrote to the host's log.
    """

    def __init__(self, fake: FakeCluster, volume: Path) -> None:
        env = {"HOSTNAME": "home-0", "PAPERCLIP_NAMESPACE": NAMESPACE}
        self.fake, self.volume = fake, volume
        self.adapter = Adapter(ProcessSettings(env=env, policy=TEMPORARY_FOLDERS), lambda *_: fake.gateway)
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

    async def run(self, **more: Any) -> tuple[ExecutionResult, HostLog]:
        host_log = HostLog()

        async def on_log(stream: str, text: str) -> None:
            self.jobs += [job for job in self.fake.store.list(JOBS) if job not in self.jobs]
            await host_log.on_log(stream, text)

        ctx = {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "co"},
            "config": {"sharedVolumeDir": str(self.volume), "teeRunLog": False, **more.pop("config", {})},
            "context": {"taskId": "t", "paperclipTaskMarkdown": "Say hello."},
            "authToken": "canary-token",
            "onLog": on_log,
            **more,
        }
        return await self.adapter.execute(ctx), host_log

    @property
    def staged(self) -> list[str]:
        """Paths of the prompt files on the shared volume."""
        folder = self.volume / "run-files"
        return [str(path.relative_to(folder)) for path in folder.rglob("*.txt")] if folder.exists() else []


@asynccontextmanager
async def home_cluster(folder: Path, pod_script: Any = GOOD) -> AsyncIterator[HomeCluster]:
    volume = folder / "volume"
    volume.mkdir()
    async with FakeCluster.start(folder, pod_script) as fake:
        home = HomeCluster(fake, volume)
        try:
            yield home
        finally:
            await home.adapter.shutdown()
