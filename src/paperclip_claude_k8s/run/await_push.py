"""Reports the clone of a workspace; after the agent's end, waits for the container that pushes the clone."""

from dataclasses import replace

from paperclip_claude_k8s.cluster.labels import NONCE_ANNOTATION
from paperclip_claude_k8s.cluster.model import PodSnapshot
from paperclip_claude_k8s.run.limited_wait import limited_wait
from paperclip_claude_k8s.run.live_run import LiveRun
from paperclip_claude_k8s.verdict.workspace_end import (
    WorkspaceEnd,
    describe_clone,
    push_container,
    push_end,
    why_not_cloned,
)

WAITING = "Workspace: the agent has ended; waiting until its Pod reports what was pushed"


async def report_clone(run: LiveRun, pod: PodSnapshot) -> None:
    """Write once into the run's log what was cloned, as soon as the Pod reports the clone."""
    if not run.clone_reported and (cloned := describe_clone(pod, _nonce(run))):
        run.clone_reported = True
        failed = why_not_cloned(pod, _nonce(run))
        await (run.narrator.warn if failed else run.narrator.status)(cloned)


async def await_push(run: LiveRun) -> WorkspaceEnd | None:
    """The Pod's report about the workspace; None if the Pod has no clone, or its agent never started.

    The Pod exists until the run is cleaned up. If the Pod is taken away, or does not report in time, the
    report is missing.
    """
    job_watch, timings = run.job_watch, run.ports.settings.timings
    pod = job_watch.known.pod
    if pod is None or not job_watch.known.agent_began:
        return None
    # A busy kubelet reports containers late, so a missing container alone proves nothing.
    if push_container(pod) is None and run.plan.workspace.source is None:
        return None
    await report_clone(run, pod)  # an agent that ends at once has ended before the clone was reported
    nonce = _nonce(run)
    async with limited_wait(run, timings.workspace_push):
        if push_end(job_watch.known.pod, nonce) is None and run.stop_reason is None:
            await run.narrator.status(WAITING)
        while push_end(job_watch.known.pod, nonce) is None and not job_watch.known.pod_gone:
            await job_watch.changed()
    end = push_end(job_watch.known.pod, nonce) or WorkspaceEnd(None)
    end = replace(end, not_cloned=why_not_cloned(job_watch.known.pod, nonce))
    await (run.narrator.status if end.is_fine else run.narrator.warn)(end.line)
    return end


def _nonce(run: LiveRun) -> str:
    """The nonce of the Job, which another run may have created."""
    return run.launched.job.annotations.get(NONCE_ANNOTATION, run.plan.nonce)
