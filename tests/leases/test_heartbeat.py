"""The Lease of a host process: when it lapses, and when it is deleted; on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.hosts import lease_holders
from tests.support.in_memory_runs import GOOD, LONG

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.lease_objects import ProcessId, process_lease
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.leases.heartbeat import Heartbeat
from paperclip_claude_k8s.ports import ProcessSettings, SlotLock
from paperclip_claude_k8s.testing import FakeCluster, HostConnection, HostLog, build_context, virtual_now

pytestmark = pytest.mark.looptime
DELETION_DELAY = 5.0
RESPONSE_DELAY = 30.0
"""Both in seconds."""
LEASE_DURATION = 60
"""The value of `leaseDurationSeconds`, which the adapter itself does not use."""
ME = ProcessId("host-one")


class _SlowDeletion:
    """A cluster that delays the first deletion of a process Lease by `DELETION_DELAY`."""

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


class _SlowResponses:
    """A cluster that replaces a Lease at once, and sends the response after `RESPONSE_DELAY`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def replace_lease(self, namespace: str, manifest: Any) -> Any:
        lease = await self._gateway.replace_lease(namespace, manifest)
        await asyncio.sleep(RESPONSE_DELAY)
        return lease


class _NoReports:
    async def status(self, text: str) -> None:
        """Discard the text."""

    async def warn(self, text: str) -> None:
        """Discard the text."""


@asynccontextmanager
async def heartbeat_with_one_slot(cluster: object) -> AsyncIterator[Heartbeat]:
    """Yield a heartbeat that has just written its Lease, in a process that holds one slot."""
    nursery, held = Nursery(), {"slot": SlotLock("slot", "run-1")}
    settings = ProcessSettings(now=virtual_now)
    heartbeat = Heartbeat(cast("Cluster", cluster), "paperclip", ME, settings, nursery, held)
    try:
        await heartbeat.ensure_started(_NoReports())
        yield heartbeat
    finally:
        await nursery.close()


async def test_lease_expiry_is_counted_from_when_the_renewal_was_sent(tmp_path: Path) -> None:
    """Other processes may have read the renewed Lease long before we received the response."""
    async with FakeCluster.start(tmp_path) as fake:
        cluster, timings = _SlowResponses(Gateway(http=HostConnection(fake))), Timings()
        async with heartbeat_with_one_slot(cluster) as heartbeat:
            await asyncio.sleep(timings.lease_renewal)  # now the renewal is sent
            await asyncio.sleep(timings.lease_expiry - timings.lease_renewal - 1.0)
            assert not heartbeat.lapsed
            await asyncio.sleep(2.0)
            assert heartbeat.lapsed


async def test_lease_that_exists_before_the_first_heartbeat_has_not_lapsed(tmp_path: Path) -> None:
    """An earlier request created the Lease, but its response was lost."""
    async with FakeCluster.start(tmp_path) as fake:
        gateway = Gateway(http=HostConnection(fake))
        await asyncio.sleep(1000.0)
        await gateway.create_lease("paperclip", process_lease("paperclip", ME, virtual_now(), LEASE_DURATION))
        async with heartbeat_with_one_slot(gateway) as heartbeat:
            assert not heartbeat.lapsed
            assert not heartbeat.held["slot"].may_be_lost


async def test_lease_of_a_process_exists_if_a_run_begins_during_its_deletion(tmp_path: Path) -> None:
    scripts = iter([GOOD, LONG])
    async with FakeCluster.start(tmp_path, lambda _: next(scripts)) as fake:
        cluster = _SlowDeletion(Gateway(http=HostConnection(fake)))
        settings = ProcessSettings(now=virtual_now, me=ME)
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
