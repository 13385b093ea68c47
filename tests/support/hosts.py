"""Several host processes on one cluster in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tests.support.fake_cluster import FakeCluster, HostLine
from tests.support.runs import HostLog
from tests.support.traced_cluster import DiesAt, Moment, TracedCluster

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings


def virtual_now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())


class Host:
    """One host process: an identity, a connection to the API server, and an adapter."""

    def __init__(self, fake: FakeCluster, name: str, dies_at: DiesAt | None = None) -> None:
        """`dies_at` decides at which of its API calls the host dies."""
        self.fake = fake
        self.line = HostLine(fake)
        self.cluster = TracedCluster(Gateway(wire=self.line), dies_at or _never_dies)
        cluster = cast("Cluster", self.cluster)
        self.adapter = Adapter(ProcessSettings(now=virtual_now, me=ProcessId(name)), lambda _k, _t: cluster)

    async def run(self, host_log: HostLog | None = None, **more: Any) -> tuple[ExecutionResult, HostLog]:
        host_log = host_log or HostLog()
        config = {"kubeconfig": "fake", "image": "x", **more.pop("config", {})}
        ctx = {
            "runId": "run-1",
            "agent": {"id": "agent-1", "companyId": "co"},
            "config": config,
            "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Do it."},
            "onLog": host_log.on_log,
            **more,
        }
        return await self.adapter.execute(ctx), host_log

    def disconnect(self) -> None:
        """Cut the connection to the API server; the host assumes that its runs continue."""
        self.line.cut()


def _never_dies(_call: str, _moment: Moment) -> bool:
    return False


@asynccontextmanager
async def started(host: Host, seconds: float = 30.0, **more: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Start a run; the block begins `seconds` later, and the run is cancelled at its end."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(host.run(**more))
        await asyncio.sleep(seconds)
        try:
            yield task
        finally:
            task.cancel()


def leases(fake: FakeCluster, kind: str) -> list[str]:
    return [
        lease["spec"]["holderIdentity"]
        for lease in fake.store.list(LEASES)
        if lease["metadata"]["labels"]["paperclip.io/lease"] == kind
    ]


def jobs(fake: FakeCluster) -> list[Any]:
    return list(fake.store.list(JOBS))
