"""Direct looks at Job, Pod and Events, where the shared watch has not told enough."""

from collections.abc import Sequence
from contextlib import suppress

from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.cluster.model import EventSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.verdict.disruption import Disruption, explained
from paperclip_claude_k8s.verdict.ending import Disrupted


async def look(vigil: Vigil, cluster: Cluster) -> bool:
    """Quorum reads of Job and Pod, told to the vigil; False, which proves nothing, when they failed."""
    ref = vigil.ref
    try:
        job = await cluster.read_job(ref.namespace, ref.name)
        pods = await _our_pods(vigil, cluster)
    except ClusterError:
        return False
    vigil.learn_look(job, pods)
    return True


async def _our_pods(vigil: Vigil, cluster: Cluster) -> Sequence[PodSnapshot]:
    """Our Pod by its name where we know it, since it may have lost its labels; else all of the Job's."""
    ref, name = vigil.ref, vigil.pod_name
    if name is not None:
        pod = await cluster.read_pod(ref.namespace, name)
        return [] if pod is None else [pod]
    pods = await cluster.list_pods(ref.namespace, {JOB_NAME_LABEL: ref.name})
    return [pod for pod in pods.items if pod.job_uid == ref.uid]


async def explain(ending: Disrupted, vigil: Vigil, cluster: Cluster) -> str:
    """The words of a disruption with what Events about Pod and Job say; being refused them costs nothing."""
    ref, events = vigil.ref, list[EventSnapshot]()
    for name in (ending.pod, ref.name):
        with suppress(ClusterError):
            events += await cluster.list_events(ref.namespace, name, by="name")
    since = vigil.known.pod.created if vigil.known.pod is not None else None
    return explained(Disruption(ending.reason, ending.words), events, since).words
