"""Direct reads of Job, Pod and Events, for decisions in which the watch may be out of date."""

from collections.abc import Sequence
from contextlib import suppress

from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.cluster.model import EventSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.verdict.disruption import Disruption, with_events
from paperclip_claude_k8s.verdict.ending import Disrupted


async def read_now(job_watch: JobWatch, cluster: Cluster) -> bool:
    """Read Job and Pod consistently and update the watch. False: a read failed, which proves nothing."""
    ref = job_watch.ref
    try:
        job = await cluster.read_job(ref.namespace, ref.name)
        pods = await _our_pods(job_watch, cluster)
    except ClusterError:
        return False
    job_watch.update_from_read(job, pods)
    return True


async def _our_pods(job_watch: JobWatch, cluster: Cluster) -> Sequence[PodSnapshot]:
    """The run's Pod, by name if the name is known because labels may be gone; else all Pods of the Job."""
    ref, name = job_watch.ref, job_watch.pod_name
    if name is not None:
        pod = await cluster.read_pod(ref.namespace, name)
        return [] if pod is None else [pod]
    pods = await cluster.list_pods(ref.namespace, {JOB_NAME_LABEL: ref.name})
    return [pod for pod in pods.items if pod.job_uid == ref.uid]


async def explain(ending: Disrupted, job_watch: JobWatch, cluster: Cluster) -> str:
    """The text of a disruption, extended by Events about Pod and Job; failed reads are ignored."""
    ref, events = job_watch.ref, list[EventSnapshot]()
    for name in (ending.pod, ref.name):
        with suppress(ClusterError):
            events += await cluster.list_events(ref.namespace, name, by="name")
    since = job_watch.known.pod.created if job_watch.known.pod is not None else None
    return with_events(Disruption(ending.reason, ending.details), events, since).details
