"""What all runs of one event loop share: connections, shared watches, locks, caps."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.leases import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.ground.aio import Admission, Nursery
from paperclip_claude_k8s.ground.settings import Timings
from paperclip_claude_k8s.podlog import Governor
from paperclip_claude_k8s.ports import Chronicle, House, Ports, Unwritten
from paperclip_claude_k8s.run.polling import HostPoller
from paperclip_claude_k8s.run.start_marks import StartMarks
from paperclip_claude_k8s.run.tenancy import Landlord
from paperclip_claude_k8s.run.whoami import this_process

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

    house: House
    connect: Connect = connect
    nursery: Nursery = field(default_factory=Nursery)
    governor: Governor = field(default_factory=Governor)
    held: set[str] = field(default_factory=set)
    chronicle: Chronicle = field(default_factory=Unwritten)
    reader: Callable[[], StreamReader] = StreamReader
    launches: Admission = field(default_factory=lambda: Admission(LAUNCHES, LAUNCH_PATIENCE))
    """Keeps a crowd of launches from delaying the runs that are there."""
    _runs: set[asyncio.Task[Any]] = field(default_factory=set)
    _ports: dict[str | None, Ports] = field(default_factory=dict)
    _informers: dict[tuple[str | None, str], Informer] = field(default_factory=dict)
    _landlords: dict[tuple[str | None, str], Landlord] = field(default_factory=dict)
    poller: HostPoller = field(init=False)
    starts: StartMarks = field(init=False)
    _me: ProcessId = field(init=False)

    def __post_init__(self) -> None:
        self._me = self.house.me or this_process()
        self.poller = HostPoller(self.house, self.nursery)
        self.starts = StartMarks(self.nursery)

    def ports(self, kubeconfig: str | None) -> Ports:
        """The neighbours of a run that uses this kubeconfig; None is the cluster we live in."""
        if kubeconfig not in self._ports:
            cluster = self.connect(kubeconfig, self.house.timings)
            informer = partial(self._informer, kubeconfig, cluster)
            slots = partial(self._landlord, kubeconfig, cluster)
            shared = (self.house, self.governor, self.held, self.chronicle, self.starts, self.reader)
            self._ports[kubeconfig] = Ports(cluster, informer, slots, *shared)
        return self._ports[kubeconfig]

    def _informer(self, kubeconfig: str | None, cluster: Cluster, namespace: str) -> Informer:
        key = (kubeconfig, namespace)
        if key not in self._informers:
            self._informers[key] = Informer(cluster, namespace, self.nursery, self.house.timings)
        return self._informers[key]

    def _landlord(self, kubeconfig: str | None, cluster: Cluster, namespace: str) -> Landlord:
        key = (kubeconfig, namespace)
        if key not in self._landlords:
            self._landlords[key] = Landlord(cluster, namespace, self._me, self.house, self.nursery)
        return self._landlords[key]

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
                for landlord in self._landlords.values():
                    await landlord.release_all()
        await self.close()

    async def close(self) -> None:
        await self.nursery.close()
        for ports in self._ports.values():
            await ports.cluster.close()
        self._ports.clear()
        self._informers.clear()
        self._landlords.clear()
