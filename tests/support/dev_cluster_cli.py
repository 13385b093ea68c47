"""`claude-k8s` commands that run agents on a development cluster."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.captures import capture_file
from tests.support.cli_commands import CommandResult, CommandRunner, claude_k8s

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.testing import capture

TRANSCRIPT = capture("02")
"""Recorded stdout of the Claude CLI; agents print it unless a test names another capture."""


@dataclass(frozen=True, slots=True)
class DevClusterCli:
    """A development cluster, and a runner of commands that use it."""

    cluster: DevCluster
    cli: CommandRunner

    def new_run_args(self, *more: str, number: str = "02", **env: str) -> list[str]:
        """Arguments that start a run whose agent prints capture `number` and has the variables `env`."""
        recording = self.cli.folder / capture_file(number)
        recording.write_bytes(capture(number))
        path = self.cli.folder / "config.json"
        config = {
            "kubeconfig": str(self.cluster.kubeconfig),
            "image": "local/agent:1",
            "concurrencyWaitSec": 0,
            "env": {"CLAUDE_CAPTURE": str(recording), **env},
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return ["run", "-p", "Go.", "--config", str(path), *more]

    async def submit(self, *more: str, **env: str) -> str:
        """Submit a run without waiting for it, and return its id."""
        code, out, _ = await claude_k8s(
            *self.new_run_args("--submit-only", *more, **env), env=self.cli.environment()
        )
        assert code == 0
        assert re.fullmatch(r"[0-9a-f-]{36}\n", out), "stdout must be the run id alone"
        return out.strip()

    async def run_with_steps_at_shares(
        self, args: list[str], *steps: tuple[float, Callable[[], object]]
    ) -> CommandResult:
        """Run a command, and perform the steps (share, function) in order.

        Each function is called as soon as more than `share` (0 to 1) of the transcript is saved.
        """
        return await self.cli.run_with_steps_at_bytes(
            args, *((share * len(TRANSCRIPT), act) for share, act in steps)
        )

    def env_of_waiting_agent(self) -> dict[str, str]:
        """Variables that make an agent print `TRANSCRIPT` and exit only after `end_agent` is called."""
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

    async def job_names(self) -> list[str]:
        """Names of all Jobs."""
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
        """Wait until the only Pod's log contains an event of the agent, and not only marks of the relay."""
        async with self.gateway() as gateway, asyncio.timeout(60):
            while True:
                for pod in (await gateway.list_pods(self.cluster.namespace, {})).items:
                    with suppress(ClusterError):
                        request = LogRequest(pod.namespace, pod.name, "claude", follow=False)
                        async with gateway.log(request) as log:
                            if b'"type":' in await log.read():
                                return
                await asyncio.sleep(0.1)

    async def delete_jobs(self) -> None:
        async with self.gateway() as gateway:
            for job in (await gateway.list_jobs(self.cluster.namespace, {})).items:
                await gateway.delete_job(job.ref, "Background")
