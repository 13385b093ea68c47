"""The Lease of a process, on virtual time."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.hosts import lease_holders
from tests.support.in_memory_runs import GOOD, LONG

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, HostConnection, HostLog, build_context, virtual_now

pytestmark = pytest.mark.looptime
DELETION_DELAY = 5.0


class _SlowDeletion:
    """A cluster that gets the first deletion of a process Lease `DELETION_DELAY` seconds late."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.requested = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def delete_lease(self, namespace: str, name: str, version: str) -> bool:
        if name.startswith("ac-process-") and not self.requested.is_set():
            self.requested.set()
            await asyncio.sleep(DELETION_DELAY)
        return await self._gateway.delete_lease(namespace, name, version)


async def test_lease_of_a_process_stays_if_a_run_begins_while_it_is_deleted(tmp_path: Path) -> None:
    scripts = iter([GOOD, LONG])
    async with FakeCluster.start(tmp_path, lambda _: next(scripts)) as fake:
        cluster = _SlowDeletion(Gateway(http=HostConnection(fake)))
        settings = ProcessSettings(now=virtual_now, me=ProcessId("host-one"))
        adapter = Adapter(settings, lambda _source, _settings: cast("Cluster", cluster))
        await adapter.execute(build_context(HostLog(), runId="run-1", agent={"id": "a", "companyId": "c"}))
        await cluster.requested.wait()
        async with asyncio.TaskGroup() as group:
            second = {"runId": "run-2", "agent": {"id": "b", "companyId": "c"}}
            running = group.create_task(adapter.execute(build_context(HostLog(), **second)))
            await asyncio.sleep(3 * DELETION_DELAY)
            assert lease_holders(fake, "process") == ["host-one"]
            running.cancel()
        await adapter.shutdown()
