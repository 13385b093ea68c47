"""What all runs of one event loop share: connections, shared watches, locks, caps."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.aio import LaunchLimiter, Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.leases.process_id import this_process
from paperclip_claude_k8s.leases.slot_locks import LeaseSlotLocks
from paperclip_claude_k8s.podlog import RateLimiter
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings, RunJournal
from paperclip_claude_k8s.run.host_polling import HostPoller
from paperclip_claude_k8s.volume.start_marks import StartMarks

SHUTDOWN = 2.0
"""Seconds that each part of going down may take: hosts are killed soon after their SIGTERM."""
LAUNCHES = 2
"""Runs that launch at once: more would keep this process and the server from the output of those that run."""
LAUNCH_PATIENCE = 0.05
"""Seconds after which a launch is one that waits: at least 40 a second begin, however slow the server is."""
Connect: TypeAlias = Callable[[str | None, Timings], Cluster]


def connect(kubeconfig: str | None, timings: Timings) -> Cluster:
    """The cluster of a kubeconfig, or the one we live in; nothing is opened before its first call."""
    return Gateway(kubeconfig, timings)


@dataclass(slots=True)
class Process:
    """The neighbours of every run of one event loop; connections and locks belong to their loop."""

    settings: ProcessSettings
    connect: Connect = connect
    nursery: Nursery = field(default_factory=Nursery)
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)
    owned_jobs: set[str] = field(default_factory=set)
    journal: RunJournal = field(default_factory=NullJournal)
    reader: Callable[[], StreamReader] = StreamReader
    launches: LaunchLimiter = field(default_factory=lambda: LaunchLimiter(LAUNCHES, LAUNCH_PATIENCE))
    """Keeps a crowd of launches from delaying the runs that are there."""
    _runs: set[asyncio.Task[Any]] = field(default_factory=set)
    _ports: dict[str | None, Ports] = field(default_factory=dict)
    _informers: dict[tuple[str | None, str], Informer] = field(default_factory=dict)
    _slot_locks_of: dict[tuple[str | None, str], LeaseSlotLocks] = field(default_factory=dict)
    poller: HostPoller = field(init=False)
    starts: StartMarks = field(init=False)
    _me: ProcessId = field(init=False)

    def __post_init__(self) -> None:
        self._me = self.settings.me or this_process()
        self.poller = HostPoller(self.settings, self.nursery)
        self.starts = StartMarks(self.nursery)

    def ports(self, kubeconfig: str | None) -> Ports:
        """The neighbours of a run that uses this kubeconfig; None is the cluster we live in."""
        if kubeconfig not in self._ports:
            cluster = self.connect(kubeconfig, self.settings.timings)
            informer = partial(self._informer, kubeconfig, cluster)
            slots = partial(self._slot_locks, kubeconfig, cluster)
            shared = (
                self.settings,
                self.rate_limiter,
                self.owned_jobs,
                self.journal,
                self.starts,
                self.reader,
            )
            self._ports[kubeconfig] = Ports(cluster, informer, slots, *shared)
        return self._ports[kubeconfig]

    def _informer(self, kubeconfig: str | None, cluster: Cluster, namespace: str) -> Informer:
        key = (kubeconfig, namespace)
        if key not in self._informers:
            self._informers[key] = Informer(cluster, namespace, self.nursery, self.settings.timings)
        return self._informers[key]

    def _slot_locks(self, kubeconfig: str | None, cluster: Cluster, namespace: str) -> LeaseSlotLocks:
        key = (kubeconfig, namespace)
        if key not in self._slot_locks_of:
            self._slot_locks_of[key] = LeaseSlotLocks(
                cluster, namespace, self._me, self.settings, self.nursery
            )
        return self._slot_locks_of[key]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The calling task executes a run for the length of the block."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # an async function is run by a task
        self._runs.add(task)
        try:
            yield
        finally:
            self._runs.discard(task)

    async def shut_down(self) -> None:
        """End what is under way as if the host had cancelled it: Jobs stay, Leases go, within two seconds."""
        runs = self._runs - {asyncio.current_task()}
        for run in runs:
            run.cancel("the adapter is shut down")
        if runs:
            await asyncio.wait(runs, timeout=SHUTDOWN)
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN):
                for slot_locks in self._slot_locks_of.values():
                    await slot_locks.release_all()
        await self.close()

    async def close(self) -> None:
        await self.nursery.close()
        for ports in self._ports.values():
            await ports.cluster.close()
        self._ports.clear()
        self._informers.clear()
        self._slot_locks_of.clear()
