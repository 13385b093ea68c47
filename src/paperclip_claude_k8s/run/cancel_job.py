"""Cancel a run by means of its Job alone, even if another process works on the run.

The name of the person is noted on the Job before the Job is deleted. The process that works on the run sees
both, and reports the run as cancelled by that person, not as one whose Job somebody deleted.
"""

import asyncio

from paperclip_claude_k8s.cluster.labels import CANCELLED_ANNOTATION, JOB_NAME_LABEL, json_pointer
from paperclip_claude_k8s.cluster.model import JobRef, JsonObject
from paperclip_claude_k8s.cluster.port import Cluster

CHECK_INTERVAL = 0.5
"""Seconds between two lists of the Job's Pods."""


async def cancel_job(job: JobRef, by: str, cluster: Cluster) -> bool:
    """Delete the Job in the foreground: its agent gets SIGTERM. False if the Job no longer exists.

    `by`: the person, for messages. Raises `ClusterError`.
    """
    note: JsonObject = {
        "op": "add",
        "path": json_pointer("metadata", "annotations", CANCELLED_ANNOTATION),
        "value": by,
    }
    if await cluster.patch_job(job, [note]) is None:
        return False
    return await cluster.delete_job(job, "Foreground")


async def wait_until_stopped(job: JobRef, cluster: Cluster) -> None:
    """Wait until no Pod of the Job runs the agent any more. Raises `ClusterError`."""
    while True:
        pods = (await cluster.list_pods(job.namespace, {JOB_NAME_LABEL: job.name})).items
        if not any(pod.job_uid == job.uid and pod.agent_may_work for pod in pods):
            return
        await asyncio.sleep(CHECK_INTERVAL)
