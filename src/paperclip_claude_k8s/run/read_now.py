"""Direct looks at Job, Pod and Events, where the shared watch has not told enough."""

from collections.abc import Sequence
from contextlib import suppress

from paperclip_claude_k8s.cluster.informer import JobWatch
from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.cluster.model import EventSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.verdict.disruption import Disruption, with_events
from paperclip_claude_k8s.verdict.ending import Disrupted


async def look(job_watch: JobWatch, cluster: Cluster) -> bool:
    """Quorum reads of Job and Pod, told to the vigil; False, which proves nothing, when they failed."""
    ref = job_watch.ref
    try:
        job = await cluster.read_job(ref.namespace, ref.name)
        pods = await _our_pods(job_watch, cluster)
    except ClusterError:
        return False
    job_watch.learn_look(job, pods)
    return True


async def _our_pods(job_watch: JobWatch, cluster: Cluster) -> Sequence[PodSnapshot]:
    """Our Pod by its name where we know it, since it may have lost its labels; else all of the Job's."""
    ref, name = job_watch.ref, job_watch.pod_name
    if name is not None:
        pod = await cluster.read_pod(ref.namespace, name)
        return [] if pod is None else [pod]
    pods = await cluster.list_pods(ref.namespace, {JOB_NAME_LABEL: ref.name})
    return [pod for pod in pods.items if pod.job_uid == ref.uid]


async def explain(ending: Disrupted, job_watch: JobWatch, cluster: Cluster) -> str:
    """The words of a disruption with what Events about Pod and Job say; being refused them costs nothing."""
    ref, events = job_watch.ref, list[EventSnapshot]()
    for name in (ending.pod, ref.name):
        with suppress(ClusterError):
            events += await cluster.list_events(ref.namespace, name, by="name")
    since = job_watch.known.pod.created if job_watch.known.pod is not None else None
    return with_events(Disruption(ending.reason, ending.words), events, since).words
