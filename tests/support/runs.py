"""Complete runs for journey tests, and a check for objects that runs have left behind."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

SMALL_REQUESTS = {"resources.requests.cpu": "10m", "resources.requests.memory": "16Mi"}
"""Config with small resource requests, so that many Pods fit on one machine."""


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster, and an adapter that uses it. `name`: "devcluster" or "real"."""

    name: str
    adapter: Adapter
    gateway: Gateway
    namespace: str
    config: Mapping[str, Any]
    capture_ref: Callable[[str], str]
    """Number of a capture → value of CLAUDE_CAPTURE with which the stand-in for the CLI prints it."""

    async def run(
        self, env: Mapping[str, str] | None = None, *, host_log: HostLog | None = None, **more: Any
    ) -> tuple[ExecutionResult, HostLog]:
        """One run of the stand-in for the CLI, which `env` controls. `config` extends the site's config."""
        host_log = host_log or HostLog()
        config = {**self.config, **SMALL_REQUESTS, "env": dict(env or {}), **more.pop("config", {})}
        ctx = {
            "runId": str(uuid.uuid4()),
            "agent": {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co", "name": "Ada"},
            "config": config,
            "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Say hello."},
            "authToken": "canary-auth-token",
            "onLog": host_log.on_log,
            "onMeta": host_log.on_meta,
            "onSpawn": host_log.on_spawn,
            **more,
        }
        return await self.adapter.execute(ctx), host_log

    async def leftovers(self, within: float = 120.0, agent: str | None = None) -> list[str]:
        """The adapter's objects that still exist after up to `within` seconds; [] as soon as there are none.

        A kubelet needs more than 40 s to end a Pod whose image pull fails. `agent`: only the objects of this
        agent, for concurrent tests.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while (left := await self._existing_objects(agent)) and loop.time() < deadline:  # noqa: ASYNC110  # polls a cluster
            await asyncio.sleep(0.25)
        return left

    async def _existing_objects(self, agent: str | None) -> list[str]:
        labels = {"paperclip.io/adapter-type": "claude_k8s"}
        if agent is not None:
            labels["paperclip.io/agent-id"] = agent
        jobs = await self.gateway.list_jobs(self.namespace, labels)
        pods = await self.gateway.list_pods(self.namespace, labels)
        leases = await self.gateway.list_leases(self.namespace, labels)
        names = [job.ref.name for job in jobs.items]
        secrets = [name for name in names if await self.gateway.read_secret(self.namespace, name)]
        return [
            *(f"job {name}" for name in names),
            *(f"pod {pod.name}" for pod in pods.items),
            *(f"secret {name}" for name in secrets),
            *(f"lease {lease.name}" for lease in leases.items),
        ]
