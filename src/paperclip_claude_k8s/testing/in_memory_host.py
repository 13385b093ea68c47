"""A host in memory: creates adapters on a cluster in memory, and runs agents with them."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing.contexts import build_context
from paperclip_claude_k8s.testing.fake_cluster import FakeCluster
from paperclip_claude_k8s.testing.host_connection import HostConnection
from paperclip_claude_k8s.testing.host_log import HostLog
from paperclip_claude_k8s.testing.named_faults import inject


class FinishedRun(NamedTuple):
    """A run that has ended."""

    result: ExecutionResult
    """What `execute` returned."""
    host_log: HostLog
    """What the host received."""


def virtual_now() -> datetime:
    """The start of 2026 plus the time of the event loop: a clock that follows virtual time."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())


def create_adapter(
    cluster: FakeCluster,
    name: str = "host-1",
    *,
    env: Mapping[str, str] | None = None,
    connection: HostConnection | None = None,
) -> Adapter:
    """An adapter on a cluster in memory, to be passed to the host under test.

    `name`: identifies the process, so two names are two host processes. `env`: the environment of that
    process. `connection`: its connection to the API server, which a test may cut. Await `shutdown()` at the
    end.
    """
    settings = ProcessSettings(now=virtual_now, me=ProcessId(name), env=env or {})
    gateway = Gateway(http=connection or HostConnection(cluster))
    return Adapter(settings, lambda _source, _settings: gateway)


class AgentRunner:
    """Runs agents on a cluster in memory: `run = await runner(fault="pod_evicted")`."""

    def __init__(self, cluster: FakeCluster, adapter: Adapter) -> None:
        self._cluster = cluster
        self._adapter = adapter

    async def __call__(self, *, fault: str = "", after: float = 20.0, **fields: Any) -> FinishedRun:  # noqa: ANN401  # fields of the wire
        """Run one agent to its end.

        Args:
            fault: name of one of `FAULTS`, which happens during the run or before it; "": none.
            after: seconds from the start of the run to the fault.
            fields: replace entries of the context, as in `build_context`; `config` is added to the default.

        Raises:
            ValueError: there is no fault of this name.
            LookupError: no agent ran at the time of the fault, or the run had ended by then.
        """
        host_log = HostLog()
        given = {"onMeta": host_log.on_meta, "onSpawn": host_log.on_spawn, **fields}
        async with inject(self._cluster, fault, after) if fault else nullcontext():
            result = await self._adapter.execute(build_context(host_log, **given))
        return FinishedRun(result, host_log)
