"""Once per process: delete the Leases of processes that died."""

from contextlib import suppress
from datetime import datetime

from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.leases.process_id import start_of
from paperclip_claude_k8s.verdict.forgotten import forgotten
from paperclip_claude_k8s.verdict.holder import Liveness, local_liveness


async def sweep(cluster: Cluster, namespace: str, me: ProcessId, now: datetime) -> None:
    """What cannot be listed or deleted now is left to the next process; no run depends on it."""

    def fate_of(holder: ProcessId) -> Liveness:
        return local_liveness(holder, me, start_of)

    with suppress(ClusterError):
        leases = (await cluster.list_leases(namespace, ALL_OURS)).items
        for lease in forgotten(leases, fate_of, now):
            await cluster.delete_lease(namespace, lease.name, lease.resource_version)
