"""A direct look at Job and Pod, where the shared watch has not told enough."""

from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError


async def look(vigil: Vigil, cluster: Cluster) -> bool:
    """Quorum reads of Job and Pod, told to the vigil; False, which proves nothing, when they failed."""
    ref = vigil.ref
    try:
        job = await cluster.read_job(ref.namespace, ref.name)
        pods = await cluster.list_pods(ref.namespace, {"job-name": ref.name})
    except ClusterError:
        return False
    vigil.learn_look(job, pods.items)
    return True
