"""The Pod that alone may run the agent, as the Job of an earlier host says: is it still there? (SPEC 2.5)."""

import asyncio
from contextlib import suppress

from paperclip_claude_k8s.base.aio import Backoff
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.read_now import read_now
from paperclip_claude_k8s.verdict.ending import PodLost, only_pod_lost

WORDS = "an earlier host process saw that it was being taken away"


async def find_only_pod(job_watch: JobWatch, ports: Ports) -> PodLost | None:
    """Look for it until a look succeeds or news brings it; its end where it is gone and its Job goes on."""
    only = job_watch.pod_name
    if only is None or job_watch.known.pod is not None or not await _looked(job_watch, ports):
        return None
    job = job_watch.known.job
    if job_watch.known.pod is not None or job_watch.known.job_gone or job is None or job.finished is not None:
        return None
    return only_pod_lost(only, WORDS)


async def _looked(job_watch: JobWatch, ports: Ports) -> bool:
    """Whether it could be looked for, which the shared watch may not allow or make needless."""
    timings = ports.settings.timings
    backoff = Backoff(timings.retry, timings.retry_cap)
    while job_watch.known.pod is None and not job_watch.known.job_gone and job_watch.refused is None:
        if await read_now(job_watch, ports.cluster):
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(backoff.pause()):
                await job_watch.changed()
    return False
