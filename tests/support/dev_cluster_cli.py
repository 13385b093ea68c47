"""A command line whose runs are on a development cluster."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.captures import capture, capture_file
from tests.support.cli_commands import Answer, CommandLine, claude_k8s

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest
from paperclip_claude_k8s.devcluster import DevCluster

TRANSCRIPT = capture("02")
"""What an agent prints unless a test says otherwise."""


@dataclass(frozen=True, slots=True)
class DevClusterCli:
    """A development cluster, and a command line that uses it."""

    cluster: DevCluster
    cli: CommandLine

    def new_run(self, *more: str, number: str = "02", **env: str) -> list[str]:
        """Arguments of a new run whose agent prints capture `number` and has the variables `env`."""
        recording = self.cli.folder / capture_file(number)
        recording.write_bytes(capture(number))
        path = self.cli.folder / "config.json"
        config = {
            "kubeconfig": str(self.cluster.kubeconfig),
            "image": "local/agent:1",
            "env": {"CLAUDE_CAPTURE": str(recording), **env},
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return ["run", "-p", "Go.", "--config", str(path), *more]

    async def submit(self, *more: str, **env: str) -> str:
        """Submit a run without waiting for it, and return its id."""
        code, out, _ = await claude_k8s(
            *self.new_run("--submit-only", *more, **env), env=self.cli.environment()
        )
        assert code == 0
        assert re.fullmatch(r"[0-9a-f-]{36}\n", out), "stdout is the bare run id"
        return out.strip()

    async def run_with(self, args: list[str], *steps: tuple[float, Callable[[], object]]) -> Answer:
        """Run a command. For each step, call the function once that share of the transcript is saved."""
        return await self.cli.run_with(args, *((part * len(TRANSCRIPT), act) for part, act in steps))

    def endless(self) -> dict[str, str]:
        """Variables of an agent that prints the usual capture, and does not exit before `end_agent`."""
        recording = self.cli.folder / capture_file("02")
        return {"CLAUDE_SCRIPT": f"cat '{recording}'; until [ -e '{self._end_file}' ]; do sleep 0.1; done"}

    def end_agent(self) -> None:
        self._end_file.touch()

    @property
    def _end_file(self) -> Path:
        return self.cli.folder / "end-agent"

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        gateway = Gateway(str(self.cluster.kubeconfig))
        try:
            yield gateway
        finally:
            await gateway.close()

    async def jobs(self) -> list[str]:
        async with self.gateway() as gateway:
            found = await gateway.list_jobs(self.cluster.namespace, {})
            return [job.ref.name for job in found.items]

    async def wait_for_job_end(self) -> None:
        """Wait until the only Job has a final condition."""
        async with self.gateway() as gateway, asyncio.timeout(60):
            while True:
                (job,) = (await gateway.list_jobs(self.cluster.namespace, {})).items
                if job.finished:
                    return
                await asyncio.sleep(0.1)

    async def wait_for_output(self) -> None:
        """Wait until the only Pod's log contains something."""
        async with self.gateway() as gateway, asyncio.timeout(60):
            while True:
                for pod in (await gateway.list_pods(self.cluster.namespace, {})).items:
                    with suppress(ClusterError):
                        request = LogRequest(pod.namespace, pod.name, "claude", follow=False)
                        async with gateway.log(request) as log:
                            if await log.read():
                                return
                await asyncio.sleep(0.1)

    async def delete_jobs(self) -> None:
        async with self.gateway() as gateway:
            for job in (await gateway.list_jobs(self.cluster.namespace, {})).items:
                await gateway.delete_job(job.ref, "Background")
