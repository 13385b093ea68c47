"""Is the process alive that holds a slot? Asked of this machine, else of its Lease, until it is known."""

import asyncio
from dataclasses import dataclass, field

from paperclip_claude_k8s.cluster.leases import ProcessId, process_lease_name
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.ground.settings import Timings
from paperclip_claude_k8s.ports import Voice
from paperclip_claude_k8s.run.whoami import start_of
from paperclip_claude_k8s.verdict.holder import Fate, Watched, fate_by_lease, fate_here

LOOK_AGAIN = 2.0
"""Seconds between two looks at the Lease of a process whose fate is unknown."""


@dataclass(slots=True)
class Fates:
    """What became of other processes; who asks about one again goes on with what was seen of it before."""

    cluster: Cluster
    namespace: str
    me: ProcessId
    timings: Timings
    _watched: dict[str, Watched] = field(default_factory=dict)

    async def of(self, holder: ProcessId, say: Voice) -> Fate:
        """Alive or dead, after waiting as long as it takes to know."""
        fate, told = fate_here(holder, self.me, start_of), False
        while fate is Fate.UNKNOWN:
            fate = await self._by_lease(holder.uuid)
            if fate is not Fate.UNKNOWN:
                break
            if not told:
                told = True
                wait = self.timings.lease_expiry
                await say.status(
                    f"Waiting up to {wait:g}s to learn whether this agent's last host process lives"
                )
            await asyncio.sleep(LOOK_AGAIN)
        return fate

    async def _by_lease(self, uuid: str) -> Fate:
        try:
            lease = await self.cluster.read_lease(self.namespace, process_lease_name(uuid))
        except ClusterError:
            return Fate.UNKNOWN
        version, now = (lease.resource_version if lease is not None else None), self._now()
        first = self._watched.setdefault(uuid, Watched(version or "", now))
        fate = fate_by_lease(first, version, now, self.timings.lease_expiry)
        if fate is not Fate.UNKNOWN:
            del self._watched[uuid]
        return fate

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
