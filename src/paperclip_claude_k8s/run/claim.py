"""The guard: may this run work for its agent now?"""

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import RUN_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.adopt import adopt, clear_unopened, pass_over
from paperclip_claude_k8s.run.holder_annotations import detached_jobs, held_jobs
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.slot import (
    Adopt,
    Blocked,
    Claimant,
    Free,
    PodsRemaining,
    SlotVerdict,
    judge_slot,
)

LOOK_AGAIN = 1.0
"""Seconds between two looks at a slot that is taken or being left."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The slot is free: a Job may be created. `session`: where a finished run of our task left off."""

    session: str | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A Job that takes the place of a new one; `own`: an earlier attempt of this very run made it."""

    job: JobSnapshot
    own: bool
    prior_run: str | None = None
    """Whose the Job was until now, as its label said."""


Claim: TypeAlias = Fresh | Adopted


async def claim_slot(plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator) -> Claim:
    """List the agent's Jobs and step back unless the slot is free or a Job in it may be adopted.

    Raises:
        RunFailure: `k8s_concurrent_run_blocked`, `k8s_orphan_task_unknown`, `k8s_orphan_session_mismatch`,
            `k8s_concurrency_guard_unreachable`.
    """
    return await _Guard(plan, held, ports, say).claim()


class _Guard:
    def __init__(self, plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator) -> None:
        self._plan = plan
        self._held = held
        self._ports = ports
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._waiting_for = ""
        self._waited: dict[str, float] = {}
        """Seconds for each of what held us up; each has a patience of its own."""
        self._looked = self._loop.time()

    async def claim(self) -> Claim:
        while True:
            claim = await self._settled(await self._look())
            if claim is not None:
                return claim
            await asyncio.sleep(LOOK_AGAIN)

    async def _settled(self, verdict: SlotVerdict) -> Claim | None:
        """What the verdict allows; None to look again."""
        match verdict:
            case Free(unclaimed):
                return Fresh(await pass_over(unclaimed, self._plan, self._ports, self._say))
            case Adopt(job, own):
                ours = await adopt(job, self._plan, self._held, self._ports, self._say)
                return None if ours is None else Adopted(ours, own, job.labels.get(RUN_LABEL))
            case Blocked(failure):
                clears = failures.slot_may_clear(failure)
                await self._wait("run", failure, self._plan.config.concurrency_wait_sec if clears else 0.0)
                return None
            case PodsRemaining(pods):
                names = ", ".join(pod.name for pod in pods)
                await self._wait("Pods", failures.pods_remain(names), self._plan.config.terminating_wait_sec)
                return None

    async def _wait(self, what: str, failure: Failure, patience: float) -> None:
        """Nothing while there is patience left with what holds us up now; said once of each."""
        now, new = self._loop.time(), what not in self._waited
        more = now - self._looked if self._waiting_for == what else 0.0
        waited = self._waited[what] = self._waited.get(what, 0.0) + more
        self._looked, self._waiting_for = now, what
        if waited >= patience:
            raise RunFailure(failure)
        if new:
            await self._say.status(f"Waiting up to {patience:g}s for the slot: {failure.message}")

    async def _look(self) -> SlotVerdict:
        """Quorum lists of the agent's Jobs and Pods, judged. Cannot be listed means closed, never free.

        The Pods come second: one of a Job that was created meanwhile has to wait for the next look.
        """
        plan, ports = self._plan, self._ports
        call = Retrier(ports.settings.timings, self._say)
        selector = plan.identity.selector
        try:
            jobs = (await call("list jobs", lambda: ports.cluster.list_jobs(plan.namespace, selector))).items
            pods = (await call("list pods", lambda: ports.cluster.list_pods(plan.namespace, selector))).items
        except ClusterError as error:
            raise RunFailure(failures.guard_unreachable(error)) from None
        alive = held_jobs(jobs, ports)
        kept = await clear_unopened(jobs, alive, ports, self._say)
        detached = detached_jobs(kept, plan.identity)
        return judge_slot(kept, _claimant(plan), alive, detached, pods)


def _claimant(plan: RunPlan) -> Claimant:
    who, config = plan.identity, plan.config
    return Claimant(
        run=who.run,
        names=who.job_names,
        task=who.task,
        session=label_value(plan.resume),
        retry_of=label_value(plan.retry_of),
        wake=plan.wake_digest,
        only_task=config.concurrency_scope == "task",
        adopts_orphans=config.reattach_orphaned_jobs,
    )
