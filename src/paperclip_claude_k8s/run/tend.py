"""The scope that owns a launched Job and tidies it away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from paperclip_claude_k8s.cluster.model import JobRef
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.calls import Caller
from paperclip_claude_k8s.run.launch import LaunchedJob
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.leftovers import Leaving, keeps_job


@asynccontextmanager
async def tended(launched: LaunchedJob, plan: RunPlan, ports: Ports, say: Narrator) -> AsyncIterator[None]:
    """Own this Job until the block is left; then delete it, unless `verdict.leftovers` says to keep it."""
    ref, how = launched.job.ref, _Left()
    ports.held.add(ref.uid)
    try:
        yield
        how.leaving = "done"
    except asyncio.CancelledError:
        how.leaving = "shutdown"
        raise
    except RunFailure as failure:
        how.leaving = "unclear" if failure.keep_job else "done"
        raise
    finally:
        ports.held.discard(ref.uid)
        await _tidy(ref, keeps_job(how.leaving, retain=plan.config.retain_jobs), ports, say)


class _Left:
    leaving: Leaving = "bug"


async def _tidy(ref: JobRef, kept: str | None, ports: Ports, say: Narrator) -> None:
    """Bounded, and never a reason for another result."""
    if kept is not None:
        await say.status(f"Retaining job {ref.name}: {kept}")
        return
    try:
        call = Caller(ports.house.timings, say)
        async with asyncio.timeout(ports.house.timings.tidy):
            await call("delete job", lambda: ports.cluster.delete_job(ref, "Background"))
    except (ClusterError, TimeoutError) as error:
        words = str(error) or f"no answer within {ports.house.timings.tidy:g}s"
        await say.warn(f"Warning: failed to cleanup job {ref.name}: {words}; its TTL will remove it")
