"""Several processes of the Paperclip host on one cluster in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.traced_cluster import CallHook, Moment, TracedCluster

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, HostConnection, HostLog, build_context, virtual_now


class Host:
    """One process of the Paperclip host: an identity, a connection to the API server, and an adapter."""

    def __init__(self, fake: FakeCluster, name: str, hook: CallHook | None = None) -> None:
        """`hook` may cut the process off at one of its API calls."""
        self.fake = fake
        self.connection = HostConnection(fake)
        settings = ProcessSettings(now=virtual_now, me=ProcessId(name), policy=TEMPORARY_FOLDERS)
        gateway = Gateway(http=self.connection, events=settings.events)
        self.cluster = TracedCluster(gateway, hook or _never_cut_off)
        cluster = cast("Cluster", self.cluster)
        self.adapter = Adapter(settings, lambda _source, _settings: cluster)

    async def run(self, host_log: HostLog | None = None, **more: Any) -> tuple[ExecutionResult, HostLog]:
        """Run an agent, which does not wait for its slot unless `config` says so."""
        host_log = host_log or HostLog()
        more["config"] = {"concurrencyWaitSec": 0, **more.get("config", {})}
        context = {"taskId": "task-1", "paperclipTaskMarkdown": "Do it."}
        ctx = build_context(host_log, **{"context": context, **more})
        return await self.adapter.execute(ctx), host_log

    def disconnect(self) -> None:
        """Cut the connection to the API server. The process keeps running."""
        self.connection.cut()


def _never_cut_off(_call: str, _moment: Moment) -> bool:
    return False


@asynccontextmanager
async def started(host: Host, seconds: float = 30.0, **more: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Start a run. The block begins `seconds` later; at the end of the block the run is cancelled."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(host.run(**more))
        await asyncio.sleep(seconds)
        try:
            yield task
        finally:
            task.cancel()


def lease_holders(fake: FakeCluster, kind: str) -> list[str]:
    """The holders of all Leases of a kind, "slot" or "process"."""
    return [
        lease["spec"]["holderIdentity"]
        for lease in fake.store.list(LEASES)
        if lease["metadata"]["labels"]["paperclip.io/lease"] == kind
    ]


def jobs(fake: FakeCluster) -> list[Any]:
    """All Jobs."""
    return list(fake.store.list(JOBS))
