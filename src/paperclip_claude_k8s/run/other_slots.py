"""Which Jobs of the agent may belong to a run that holds another slot than this run?

A run holds the slot of its agent, or of its agent and task, as its `concurrencyScope` says. Its Lease keeps
other runs out of that slot only. The Jobs of other slots are therefore left alone. There is one exception: a
Job without its run Secret is deleted if no Lease of a slot that it may belong to exists, because its slot may
never be used again. The runs of one agent may also differ in `concurrencyScope`: then a Job of our slot may
belong to a run with another Lease.
"""

from collections.abc import Iterable, Sequence

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import AGENT_LABEL, HOLDER_ANNOTATION, TASK_LABEL
from paperclip_claude_k8s.cluster.lease_objects import holder_of, slot_lease_name
from paperclip_claude_k8s.cluster.model import JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.leases.liveness import Liveness, LivenessProbe
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.slot import is_live


def slot_name(agent: str, task: str | None) -> str:
    """The slot of an agent, or of an agent and task. Both are label values."""
    return f"{agent}:{task}" if task else agent


def _other_slots(job: JobSnapshot, ours: SlotLock) -> set[str]:
    """The slots, except ours, to which the Job may belong."""
    agent, task = job.labels.get(AGENT_LABEL, ""), job.labels.get(TASK_LABEL)
    return {slot_name(agent, task), slot_name(agent, None)} - {ours.slot}


async def held_by_other_slots(
    jobs: Iterable[JobSnapshot], ours: SlotLock, ports: Ports, narrator: Narrator
) -> set[str]:
    """Uids of the live ones of these Jobs of our slot that a live run with another slot may hold.

    A Job that names its holder has no Lease. Without Leases nothing more is known.

    Raises:
        RunFailure: `k8s_concurrency_guard_unreachable`.
    """
    held: set[str] = set()
    fenced_jobs = [job for job in jobs if is_live(job) and HOLDER_ANNOTATION not in job.annotations]
    for job in fenced_jobs if ours.fenced else ():
        for slot in sorted(_other_slots(job, ours)):
            try:
                if await _has_live_holder(slot, job.ref.namespace, ours, ports, narrator):
                    held.add(job.ref.uid)
            except ClusterError as error:
                raise RunFailure(failures.guard_unreachable(error)) from None
    return held


async def _has_live_holder(
    slot: str, namespace: str, ours: SlotLock, ports: Ports, narrator: Narrator
) -> bool:
    """Whether another live run holds the slot. Raises `ClusterError`."""
    call = Retrier(ports.settings.timings, narrator)
    lease = await call("read lease", lambda: ports.cluster.read_lease(namespace, slot_lease_name(slot)))
    if lease is None:
        return False
    (holder, run), slot_locks = holder_of(lease), ports.slot_locks(namespace)
    if holder.uuid == slot_locks.me.uuid:
        return run != ours.run and run in slot_locks.runs
    probe = LivenessProbe(ports.cluster, namespace, slot_locks.me, ports.settings.timings)
    return await probe.liveness_of(holder, narrator) is Liveness.ALIVE


async def without_slot_lease(jobs: Sequence[JobSnapshot], ours: SlotLock, ports: Ports) -> list[JobSnapshot]:
    """Those of these Jobs of other slots, whose annotations name no live holder, for which no Lease exists.

    A run deletes its Lease last. The Lease of a dead process is deleted when it is stale (`stale_leases`), so
    that nobody waits for its expiry here. A Job whose Lease cannot be read is left to the next run. A Job
    that names a holder, which is dead then, has no Lease.
    """
    has_lease: dict[str, bool] = {}
    unheld = [job for job in jobs if HOLDER_ANNOTATION in job.annotations]
    fenced_jobs = [job for job in jobs if HOLDER_ANNOTATION not in job.annotations]
    for job in fenced_jobs:
        for slot in _other_slots(job, ours) - has_lease.keys():
            name = slot_lease_name(slot)
            try:
                has_lease[slot] = await ports.cluster.read_lease(job.ref.namespace, name) is not None
            except ClusterError:
                has_lease[slot] = True
        if not any(has_lease[slot] for slot in _other_slots(job, ours)):
            unheld.append(job)
    return unheld
