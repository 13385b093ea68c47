"""The scope that owns a launched Job and tidies it away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.ports import Ports, Tenure
from paperclip_claude_k8s.run.adopt import mark_taken
from paperclip_claude_k8s.run.calls import Caller
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.staging import unstage_after
from paperclip_claude_k8s.verdict.leftovers import Leaving, keeps_job


@asynccontextmanager
async def tended(launched: LaunchedJob, held: Tenure, ports: Ports, say: Narrator) -> AsyncIterator["Care"]:
    """Own this Job until the block is left; then delete it, unless `verdict.leftovers` says to keep it."""
    ref, how = launched.job.ref, Care()
    ports.held.add(ref.uid)
    try:
        yield how
        how.leaving = "unclear" if how.end_unknown else "done" if how.written else "unwritten"
    except asyncio.CancelledError:
        how.leaving = "shutdown"
        raise
    except RunFailure:
        how.leaving = "done"
        raise
    finally:
        ports.held.discard(ref.uid)
        await _tidy(launched, how, held, ports, say)


class Care:
    """How the Job is to be left."""

    leaving: Leaving = "bug"
    end_unknown = False
    written = True
    """Whether the result is where it survives this process, if anywhere is asked for."""
    agent_ended = False
    """Only what ended by itself may be retained: nobody would listen to what goes on."""


async def _tidy(launched: LaunchedJob, how: Care, held: Tenure, ports: Ports, say: Narrator) -> None:
    """Bounded, and never a reason for another result."""
    ref, namespace = launched.job.ref, launched.job.ref.namespace
    try:
        async with asyncio.timeout(ports.house.timings.tidy):
            if how.leaving == "done" and not await ports.slots(namespace).still_ours(held):
                how.leaving = "lost"
            kept = keeps_job(how.leaving, retain=launched.plan.config.retain_jobs and how.agent_ended)
            if kept is None:
                call = Caller(ports.house.timings, say)
                await call("delete job", lambda: ports.cluster.delete_job(ref, "Background"))
            elif how.leaving == "done":
                await mark_taken(launched.job, ports)
            if kept is None or how.leaving == "done":
                await unstage_after(launched.job, launched.plan.volume_here)
    except (ClusterError, TimeoutError) as error:
        words = str(error) or f"no answer within {ports.house.timings.tidy:g}s"
        await say.warn(f"Warning: failed to cleanup job {ref.name}: {words}; its TTL will remove it")
        return
    if kept is not None:
        await say.status(f"Retaining job {ref.name}: {kept}")
