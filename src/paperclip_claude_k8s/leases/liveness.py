"""Is the process alive that holds a slot? Asked of this machine, else of its Lease, until it is known."""

import asyncio
from dataclasses import dataclass, field

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.lease_objects import ProcessId, process_lease_name
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.leases.process_id import start_of
from paperclip_claude_k8s.ports import StatusReporter
from paperclip_claude_k8s.verdict.holder import Liveness, ObservedLease, lease_liveness, local_liveness

LOOK_AGAIN = 2.0
"""Seconds between two looks at the Lease of a process whose fate is unknown."""


@dataclass(slots=True)
class LivenessProbe:
    """What became of other processes; who asks about one again goes on with what was seen of it before."""

    cluster: Cluster
    namespace: str
    me: ProcessId
    timings: Timings
    _watched: dict[str, ObservedLease] = field(default_factory=dict)

    async def of(self, holder: ProcessId, say: StatusReporter) -> Liveness:
        """Alive or dead, after waiting as long as it takes to know."""
        fate, told = local_liveness(holder, self.me, start_of), False
        while fate is Liveness.UNKNOWN:
            fate = await self._by_lease(holder.uuid)
            if fate is not Liveness.UNKNOWN:
                break
            if not told:
                told = True
                wait = self.timings.lease_expiry
                await say.status(
                    f"Waiting up to {wait:g}s to learn whether this agent's last host process lives"
                )
            await asyncio.sleep(LOOK_AGAIN)
        return fate

    async def _by_lease(self, uuid: str) -> Liveness:
        try:
            lease = await self.cluster.read_lease(self.namespace, process_lease_name(uuid))
        except ClusterError:
            return Liveness.UNKNOWN
        version, now = (lease.resource_version if lease is not None else None), self._now()
        first = self._watched.setdefault(uuid, ObservedLease(version or "", now))
        fate = lease_liveness(first, version, now, self.timings.lease_expiry)
        if fate is not Liveness.UNKNOWN:
            del self._watched[uuid]
        return fate

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
