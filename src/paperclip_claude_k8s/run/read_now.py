"""Direct reads of Job, Pod and Events, for decisions in which the watch may be out of date."""

from collections.abc import Sequence
from contextlib import suppress

from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.cluster.model import EventSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.verdict.disruption import Disruption, disruption_by_event, with_events
from paperclip_claude_k8s.verdict.ending import Disrupted, Exited

NODE_EVENTS_NAMESPACE = "default"
"""Namespace of the Events about nodes, which have none themselves."""


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
    """The run's Pod by its name, because its labels may be gone; else all Pods of the Job."""
    ref, name = job_watch.ref, job_watch.pod_name
    if name is not None:
        pod = await cluster.read_pod(ref.namespace, name)
        return [] if pod is None else [pod]
    pods = await cluster.list_pods(ref.namespace, {JOB_NAME_LABEL: ref.name})
    return [pod for pod in pods.items if pod.job_uid == ref.uid]


async def explain(ending: Disrupted, job_watch: JobWatch, cluster: Cluster) -> str:
    """The text of a disruption, extended by Events about Pod, Job and node; failed reads are ignored."""
    pod = job_watch.known.pod
    events = await _events_about(pod, job_watch, cluster)
    since = pod.created if pod is not None else None
    return with_events(Disruption(ending.reason, ending.details), events, since).details


async def explain_kill(ending: Exited, job_watch: JobWatch, cluster: Cluster) -> Exited | Disrupted:
    """The ending of a container that was killed, with the cause that an Event names, if one does.

    A kernel that is out of memory, or a node that shuts down, kills containers, and no field of the Pod says
    so.
    """
    pod = job_watch.known.pod
    if pod is None:
        return ending
    events = await _events_about(pod, job_watch, cluster)
    found = disruption_by_event(events, ending.terminated.started or pod.created)
    if found is None:
        return ending
    return Disrupted(pod.name, found.reason, found.details, ending.terminated, named=False)


async def _events_about(
    pod: PodSnapshot | None, job_watch: JobWatch, cluster: Cluster
) -> list[EventSnapshot]:
    """Events about Pod, Job and node; failed reads are ignored.

    Events about the node are in another namespace, which this process may not be allowed to read.
    """
    ref, events = job_watch.ref, list[EventSnapshot]()
    objects = [(ref.namespace, pod.name if pod is not None else ""), (ref.namespace, ref.name)]
    objects.append((NODE_EVENTS_NAMESPACE, pod.node if pod is not None else ""))
    for namespace, name in objects:
        with suppress(ClusterError):
            events += await cluster.list_events(namespace, name, by="name") if name else ()
    return events
