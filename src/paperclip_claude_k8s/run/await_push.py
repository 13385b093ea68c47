"""Waits for the container that pushes a workspace, after the agent has ended."""

import asyncio
from contextlib import suppress

from paperclip_claude_k8s.cluster.labels import NONCE_ANNOTATION
from paperclip_claude_k8s.run.live_run import LiveRun
from paperclip_claude_k8s.verdict.workspace_end import WorkspaceEnd, push_container, push_end

STOPPED_WAIT = 5.0
"""Seconds to wait if this process has stopped the agent: its Pod is gone already, or will be soon."""


async def await_push(run: LiveRun) -> WorkspaceEnd | None:
    """What became of the workspace; None if the Pod pushes none, or its agent never started.

    The Pod exists until the run is cleaned up. If it is taken away, or does not end in time, the report is
    missing.
    """
    job_watch, timings = run.job_watch, run.ports.settings.timings
    if push_container(job_watch.known.pod) is None or not job_watch.known.agent_began:
        return None
    nonce = run.launched.job.annotations.get(NONCE_ANNOTATION, run.plan.nonce)
    limit = STOPPED_WAIT if run.stop_reason is not None else timings.workspace_push
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while push_end(job_watch.known.pod, nonce) is None and not job_watch.known.pod_gone:
                await job_watch.changed()
    end = push_end(job_watch.known.pod, nonce) or WorkspaceEnd(None)
    await (run.narrator.status if end.is_fine else run.narrator.warn)(end.line)
    return end
