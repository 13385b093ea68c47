"""The Pod that alone may run the agent, as the Job of an earlier host says: is it still there? (SPEC 2.5)."""

import asyncio
from contextlib import suppress

from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.ground.aio import Backoff
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.look import look
from paperclip_claude_k8s.verdict.ending import PodLost, only_pod_lost

WORDS = "an earlier host process saw that it was being taken away"


async def find_only_pod(vigil: Vigil, ports: Ports) -> PodLost | None:
    """Look for it until a look succeeds or news brings it; its end where it is gone and its Job goes on."""
    only = vigil.pod_name
    if only is None or vigil.known.pod is not None or not await _looked(vigil, ports):
        return None
    job = vigil.known.job
    if vigil.known.pod is not None or vigil.known.job_gone or job is None or job.finished is not None:
        return None
    return only_pod_lost(only, WORDS)


async def _looked(vigil: Vigil, ports: Ports) -> bool:
    """Whether it could be looked for, which the shared watch may not allow or make needless."""
    timings = ports.house.timings
    backoff = Backoff(timings.retry, timings.retry_cap)
    while vigil.known.pod is None and not vigil.known.job_gone and vigil.refused is None:
        if await look(vigil, ports.cluster):
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(backoff.pause()):
                await vigil.news()
    return False
