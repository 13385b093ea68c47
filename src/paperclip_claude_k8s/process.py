"""What all runs of one event loop share: connections, shared watches, locks, caps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.ground.aio import Nursery, Turns
from paperclip_claude_k8s.ground.settings import Timings
from paperclip_claude_k8s.podlog import Governor
from paperclip_claude_k8s.ports import House, Ports

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
    turns: Turns = field(default_factory=Turns)
    governor: Governor = field(default_factory=Governor)
    held: set[str] = field(default_factory=set)
    _clusters: dict[str | None, Cluster] = field(default_factory=dict)
    _informers: dict[tuple[str | None, str], Informer] = field(default_factory=dict)

    def ports(self, kubeconfig: str | None) -> Ports:
        """The neighbours of a run that uses this kubeconfig; None is the cluster we live in."""
        cluster = self._clusters.get(kubeconfig)
        if cluster is None:
            cluster = self._clusters[kubeconfig] = self.connect(kubeconfig, self.house.timings)
        informer = partial(self._informer, kubeconfig, cluster)
        return Ports(cluster, informer, self.house, self.governor, self.turns, self.held)

    def _informer(self, kubeconfig: str | None, cluster: Cluster, namespace: str) -> Informer:
        key = (kubeconfig, namespace)
        if key not in self._informers:
            self._informers[key] = Informer(cluster, namespace, self.nursery, self.house.timings)
        return self._informers[key]

    async def close(self) -> None:
        await self.nursery.close()
        for cluster in self._clusters.values():
            await cluster.close()
        self._clusters.clear()
        self._informers.clear()
