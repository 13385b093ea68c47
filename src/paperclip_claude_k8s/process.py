"""What all runs of one event loop share: connections, watches, locks and limits."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from paperclip_claude_k8s.base.aio import LaunchLimiter, Nursery
from paperclip_claude_k8s.base.room import Room
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.kubeconfig import ClusterSource, KubeconfigRules
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.host.redact import redact_text
from paperclip_claude_k8s.leases.process_id import this_process
from paperclip_claude_k8s.leases.slot_locks import LeaseSlotLocks
from paperclip_claude_k8s.podlog import RateLimiter
from paperclip_claude_k8s.ports import NullJournal, Ports, ProcessSettings, RunJournal
from paperclip_claude_k8s.run.host_polling import HostPoller
from paperclip_claude_k8s.volume.start_marks import StartMarks

SHUTDOWN_LIMIT = 2.0
"""Seconds that each part of the shutdown may take: hosts are killed soon after their SIGTERM."""
MAX_LAUNCHES = 2
"""Largest number of runs that launch at the same time: more would delay the output of agents that run
already."""
LAUNCH_PERMIT_EXPIRY = 0.05
"""Seconds after which a launch returns its permit and goes on, so that with two permits at least 40 launches
begin each second."""
Connect: TypeAlias = Callable[[ClusterSource, ProcessSettings], Cluster]


def connect(source: ClusterSource, settings: ProcessSettings) -> Cluster:
    """The cluster of a kubeconfig, or the one that this process runs in. The first request connects to it."""
    policy = settings.policy
    rules = KubeconfigRules(
        may_be_read=settings.folders.kubeconfigs.allows,
        may_run=policy.allows_exec_plugin,
        may_inherit=policy.allows_plugin_variable,
        may_use=partial(policy.allows, "kubeContexts"),
        trusted=policy.kubeconfigs is not None,  # the operator has listed the kubeconfigs
        mask=redact_text,
    )
    credentials = Credentials(
        source.kubeconfig, rules, settings.limits, settings.timings, context=source.context
    )
    return Gateway(credentials, settings.timings, events=settings.events)


@dataclass(slots=True)
class Process:
    """Creates the `Ports` of every run of one event loop; connections and locks belong to their loop."""

    settings: ProcessSettings
    connect: Connect = connect
    nursery: Nursery = field(default_factory=Nursery)
    rate_limiter: RateLimiter = field(default_factory=RateLimiter)
    owned_jobs: set[str] = field(default_factory=set)
    """Uids of the Jobs that runs of this process own now."""
    journal: RunJournal = field(default_factory=NullJournal)
    reader: Callable[[], StreamReader] = StreamReader
    launch_limiter: LaunchLimiter = field(
        default_factory=lambda: LaunchLimiter(MAX_LAUNCHES, LAUNCH_PERMIT_EXPIRY)
    )
    """Keeps a burst of launches from delaying runs that are under way."""
    _runs: set[asyncio.Task[Any]] = field(default_factory=set)
    _ports: dict[ClusterSource, Ports] = field(default_factory=dict)
    _informers: dict[tuple[ClusterSource, str], Informer] = field(default_factory=dict)
    _slot_runs: set[str] = field(default_factory=set)
    """Ids of the runs that hold slots, whichever kubeconfig they use; see `LeaseSlotLocks.runs`."""
    _slot_locks_of: dict[tuple[ClusterSource, str], LeaseSlotLocks] = field(default_factory=dict)
    poller: HostPoller = field(init=False)
    start_marks: StartMarks = field(init=False)
    _uploads: Room = field(init=False)
    _me: ProcessId = field(init=False)

    def __post_init__(self) -> None:
        self._me = self.settings.me or this_process()
        self.poller = HostPoller(self.settings, self.nursery)
        self.start_marks = StartMarks(self.nursery)
        self._uploads = Room(self.settings.limits.uploaded_bytes)

    def ports(self, kubeconfig: str | None, context: str | None = None) -> Ports:
        """The ports of a run that uses this kubeconfig; None: the cluster that this process runs in.

        `context`: None for the kubeconfig's current context.
        """
        source = ClusterSource(kubeconfig, context)
        if source not in self._ports:
            cluster = self.connect(source, self.settings)
            self._ports[source] = Ports(
                cluster=cluster,
                informer=partial(self._informer, source, cluster),
                slot_locks=partial(self._slot_locks, source, cluster),
                settings=self.settings,
                rate_limiter=self.rate_limiter,
                owned_jobs=self.owned_jobs,
                journal=self.journal,
                uploads=self._uploads,
                start_marks=self.start_marks,
                reader=self.reader,
            )
        return self._ports[source]

    def _informer(self, source: ClusterSource, cluster: Cluster, namespace: str) -> Informer:
        key = (source, namespace)
        if key not in self._informers:
            self._informers[key] = Informer(
                cluster, namespace, self.nursery, self.settings.timings, self.settings.events
            )
        return self._informers[key]

    def _slot_locks(self, source: ClusterSource, cluster: Cluster, namespace: str) -> LeaseSlotLocks:
        key = (source, namespace)
        if key not in self._slot_locks_of:
            self._slot_locks_of[key] = LeaseSlotLocks(
                cluster, namespace, self._me, self.settings, self.nursery, self._slot_runs
            )
        return self._slot_locks_of[key]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Register the calling task as a run, so that `shut_down` cancels it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # for the type checker: coroutines run in tasks
        self._runs.add(task)
        try:
            yield
        finally:
            self._runs.discard(task)

    async def shut_down(self) -> None:
        """Cancel all runs, release their Leases and close the connections.

        Jobs stay, and the next process adopts them. Cancelling and releasing take at most `SHUTDOWN_LIMIT`
        seconds each.
        """
        runs = self._runs - {asyncio.current_task()}
        for run in runs:
            run.cancel("the adapter is shut down")
        if runs:
            await asyncio.wait(runs, timeout=SHUTDOWN_LIMIT)
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_LIMIT):
                for slot_locks in self._slot_locks_of.values():
                    await slot_locks.release_all()
        await self.close()

    async def close(self) -> None:
        """End the background tasks, pass on the last events, and close the connections."""
        await self.nursery.close()
        await self.settings.events.flush()
        for ports in self._ports.values():
            await ports.cluster.close()
        self._ports.clear()
        self._informers.clear()
        self._slot_locks_of.clear()
