"""The concurrency guard: may this run start an agent in its slot now?

A slot is one agent, or one agent and task. Two things guard it. The slot lock excludes other runs: those of
this process, and by a Lease those of other processes. The agent's Jobs and Pods in the cluster are then
listed, because a Job outlives the process that created it. An orphaned Job is adopted if that is allowed;
otherwise it blocks the slot, or the run waits for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.aio import Backoff, loop_time
from paperclip_claude_k8s.cluster.labels import RUN_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.host.context import StoppableContext
from paperclip_claude_k8s.plan.identity import label_value
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.adopt import (
    adopt,
    delete_endless,
    delete_never_started,
    perhaps_never_started,
    skip_unclaimed,
)
from paperclip_claude_k8s.run.holder_annotations import (
    detached_jobs_of_others,
    jobs_of_nobody,
    jobs_with_live_holder,
)
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.other_slots import held_by_other_slots, slot_name, without_slot_lease
from paperclip_claude_k8s.run.report_waiting import report_while_waiting
from paperclip_claude_k8s.run.returned_changes import apply_earlier_changes, has_changes
from paperclip_claude_k8s.run.stop import cancel_on
from paperclip_claude_k8s.verdict.slot import (
    Adopt,
    Blocked,
    Claimant,
    Free,
    PodsRemaining,
    SlotVerdict,
    in_slot,
    judge_slot,
)

POLL_INTERVAL, LONGEST_POLL_INTERVAL = 1.0, 15.0
"""Seconds between two lists while the slot is in use or Pods in it are terminating.

While another run works, the pauses become longer, because that can take hours.
"""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The slot is free: a Job may be created. `session`: the last session of a finished run of our task."""

    session: str | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A Job to observe instead of creating one. `own`: an earlier attempt of the same run created it."""

    job: JobSnapshot
    own: bool
    prior_run: str | None = None
    """The run that the Job's label named before the adoption."""


Claim: TypeAlias = Fresh | Adopted


@asynccontextmanager
async def hold_slot(
    ctx: StoppableContext, plan: RunPlan, ports: Ports, narrator: Narrator
) -> AsyncIterator[SlotLock]:
    """Hold the run's slot for the length of the block.

    The block covers both attempts of a run: a second one follows if the session to resume is lost.

    Raises:
        RunFailure: `k8s_concurrent_run_blocked`, `k8s_concurrency_guard_unreachable`, `cancelled`.
    """
    identity, config = plan.identity, plan.config
    slot = slot_name(identity.agent, identity.task if config.concurrency_scope == "task" else None)
    holding = ports.slot_locks(plan.namespace).hold(
        slot, identity.run_id, config.concurrency_wait_sec, narrator
    )
    async with AsyncExitStack() as stack:
        acquiring = cancel_on(ctx.signal, stack.enter_async_context(holding))
        message = "waits until another run of this agent has ended"
        slot_lock = await report_while_waiting(acquiring, "the agent's slot", message, ctx, narrator)
        try:
            yield slot_lock
        finally:
            ports.owned_jobs.discard(slot_lock.job_uid)


async def claim_slot(plan: RunPlan, slot_lock: SlotLock, ports: Ports, narrator: Narrator) -> Claim:
    """List the agent's Jobs until the slot is free or a Job in it can be adopted.

    Raises:
        RunFailure: `k8s_concurrent_run_blocked`, `k8s_orphan_task_unknown`, `k8s_orphan_session_mismatch`,
            `k8s_concurrency_guard_unreachable`; `k8s_pod_reattach_failed`, a Job could not be adopted.
    """
    return await _Guard(plan, slot_lock, ports, narrator).claim()


@dataclass(slots=True)
class _Guard:
    """One claim, which may wait for other runs and for Pods that have not ended."""

    plan: RunPlan
    slot_lock: SlotLock
    ports: Ports
    narrator: Narrator
    _waiting_for: str = ""
    """The kind of obstacle at the last list; empty: none so far."""
    _waited: dict[str, float] = field(default_factory=dict)
    """Seconds waited so far for each kind of obstacle; each has its own limit."""
    _listed_at: float = 0.0
    """Loop time of the last list that showed an obstacle."""
    _pauses: Backoff = field(
        default_factory=lambda: Backoff(POLL_INTERVAL, LONGEST_POLL_INTERVAL, factor=1.5, jitter=0.0)
    )
    """Seconds between two lists."""
    _ended: list[JobSnapshot] = field(default_factory=list)
    """The slot's Jobs of the last list that no process holds. All of them have ended if the slot is free."""
    _elsewhere: list[JobSnapshot] = field(default_factory=list)
    """The agent's Jobs in other slots that may lack their run Secret, by the last list."""

    async def claim(self) -> Claim:
        while True:
            claim = await self._act_on(await self._judge())
            if claim is not None:
                return claim
            await asyncio.sleep(self._pauses.pause())
            if self._waiting_for != "run":
                self._pauses.reset()

    async def _act_on(self, verdict: SlotVerdict) -> Claim | None:
        """The claim that the verdict allows; None: list again after a pause."""
        match verdict:
            case Free(unclaimed, endless):
                done = await apply_earlier_changes(self._ended, self.plan, self.ports, self.narrator)
                # A Job whose changes this run cannot apply stays, for a run with the Job's folder. That run
                # deletes it, even if its result has been taken: nothing else ends its Pod for a day.
                applied = [job for job in self._ended if job.ref.uid in done and job.finished is None]
                endless = (*(job for job in endless if not has_changes(job)), *applied)
                session = await skip_unclaimed(unclaimed, self.plan, self.ports, self.narrator)
                await delete_endless(endless, self.ports, self.narrator)
                abandoned = await without_slot_lease(self._elsewhere, self.slot_lock, self.ports)
                await delete_never_started(abandoned, (), (), self.ports, self.narrator)
                return Fresh(session)
            case Adopt(job, own):
                ours = await adopt(job, self.plan, self.slot_lock, self.ports, self.narrator)
                return None if ours is None else Adopted(ours, own, job.labels.get(RUN_LABEL))
            case Blocked(failure):
                clears = failures.slot_may_clear(failure)
                await self._count_wait(
                    "run", failure, self.plan.config.concurrency_wait_sec if clears else 0.0
                )
                return None
            case PodsRemaining(pods):
                names = ", ".join(pod.name for pod in pods)
                await self._count_wait(
                    "Pods", failures.pods_remain(names), self.plan.config.terminating_wait_sec
                )
                return None

    async def _count_wait(self, obstacle: str, failure: Failure, limit: float) -> None:
        """Count the time for this obstacle; report the obstacle if it is new.

        Raises RunFailure after `limit` seconds.
        """
        now, is_new = loop_time(), obstacle not in self._waited
        since_last = now - self._listed_at if self._waiting_for == obstacle else 0.0
        waited = self._waited[obstacle] = self._waited.get(obstacle, 0.0) + since_last
        self._listed_at, self._waiting_for = now, obstacle
        if waited >= limit:
            raise RunFailure(failure)
        if is_new:
            await self.narrator.status(f"Waiting up to {limit:g}s for the slot: {failure.message}")

    async def _judge(self) -> SlotVerdict:
        """Judge consistent lists of the agent's Jobs and Pods. A failed list is an error, never a free slot.

        The Pods are listed after the Jobs: a Pod whose Job was created in between counts as a Pod without a
        Job, and the guard lists again.
        """
        plan, ports = self.plan, self.ports
        call = Retrier(ports.settings.timings, self.narrator)
        selector = plan.identity.selector
        try:
            jobs = (await call("list jobs", lambda: ports.cluster.list_jobs(plan.namespace, selector))).items
            pods = (await call("list pods", lambda: ports.cluster.list_pods(plan.namespace, selector))).items
        except ClusterError as error:
            raise RunFailure(failures.guard_unreachable(error)) from None
        claimant, owned = _claimant(plan), jobs_with_live_holder(jobs, ports)
        slot = [job for job in jobs if in_slot(job.labels, claimant)]
        others = [job for job in jobs if not in_slot(job.labels, claimant)]
        self._elsewhere = perhaps_never_started(others, pods, owned)
        unheld = [job for job in slot if job.ref.uid not in owned]
        owned |= await held_by_other_slots(unheld, self.slot_lock, ports, self.narrator)
        kept = await delete_never_started(slot, pods, owned, ports, self.narrator)
        detached = detached_jobs_of_others(kept, plan.identity)
        self._ended = jobs_of_nobody(kept, owned, detached)
        return judge_slot(kept, claimant, owned, detached, pods)


def _claimant(plan: RunPlan) -> Claimant:
    identity, config = plan.identity, plan.config
    return Claimant(
        run=identity.run,
        names=identity.job_names,
        task=identity.task,
        session=label_value(plan.resume),
        retry_of=label_value(plan.retry_of),
        wake=plan.wake_digest,
        only_task=config.concurrency_scope == "task",
        adopts_orphans=config.reattach_orphaned_jobs,
    )
