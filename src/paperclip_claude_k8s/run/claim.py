"""The guard: may this run work for its agent now?"""

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.runplan import RunPlan
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.calls import Caller
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.slot import Adopt, Claimant, Free, Leaving, SlotVerdict, Taken, judge_slot

LOOK_AGAIN = 1.0
"""Seconds between two looks at a Job that is being deleted."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The slot is free: a Job may be created."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A living Job takes the place of a new one."""

    job: JobSnapshot


Claim: TypeAlias = Fresh | Adopted


async def claim_agent(plan: RunPlan, ports: Ports, say: Narrator) -> Claim:
    """List the agent's Jobs and step back unless the slot is free or ours.

    Raises:
        RunFailure: `k8s_concurrent_run_blocked`, `k8s_concurrency_guard_unreachable`.
    """
    deadline = asyncio.get_running_loop().time() + plan.config.terminating_wait_sec
    while True:
        match await look(plan, ports, say):
            case Free():
                return Fresh()
            case Adopt(job):
                return Adopted(job)
            case Taken(failure):
                raise RunFailure(failure)
            case Leaving(jobs):
                await _let_them_leave(jobs, deadline, say)


async def look(plan: RunPlan, ports: Ports, say: Narrator) -> SlotVerdict:
    """One quorum list of the agent's Jobs, judged. Cannot be listed means closed, never free."""
    who = plan.identity
    only_task = plan.config.concurrency_scope == "task"
    claimant = Claimant(who.run, who.task, who.session, only_task=only_task, adopts_orphans=False)
    call = Caller(ports.house.timings, say)
    try:
        listing = await call("list jobs", lambda: ports.cluster.list_jobs(plan.namespace, who.selector))
    except ClusterError as error:
        raise RunFailure(failures.guard_unreachable(error)) from None
    return judge_slot(listing.items, claimant, ports.held)


async def _let_them_leave(jobs: tuple[JobSnapshot, ...], deadline: float, say: Narrator) -> None:
    """A Job under deletion still runs until its Pod is gone: it would write beside us."""
    names = ", ".join(job.ref.name for job in jobs)
    if asyncio.get_running_loop().time() > deadline:
        raise RunFailure(failures.run_blocked(names, "is being deleted and its Pod has not gone"))
    await say.status(f"Waiting for Job {names}, which is being deleted")
    await asyncio.sleep(LOOK_AGAIN)
