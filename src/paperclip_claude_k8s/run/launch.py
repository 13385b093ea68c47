"""Create the Job, look again, and only then open the gate: no Pod starts without its Secret (SPEC 2.5)."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import RUN_LABEL, TASK_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.delivery import OBJECT_BYTES
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.requirements import REPLACEMENT_POLICY_SINCE
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.begin import announce
from paperclip_claude_k8s.run.claim import Adopted, Fresh, claim_slot
from paperclip_claude_k8s.run.holder_annotations import detached_annotations, holder_annotations
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.start_gate import open_gate
from paperclip_claude_k8s.verdict.slot import is_live, known_different, other_live_jobs
from paperclip_claude_k8s.volume.staging import stage, unstage

LOOK_AGAIN = 1.0
"""Seconds between two looks at a Job that is being deleted."""
STEP_BACK = (1.0, 3.0)
"""Seconds, drawn at random: two runs that met at the gate must not meet again."""


@dataclass(frozen=True, slots=True)
class LaunchedJob:
    """A Job of ours that exists, the plan by which it is run, and whether another run or attempt made it."""

    job: JobSnapshot
    plan: RunPlan
    headline: str
    adopted: bool = False
    secret: SecretSnapshot | None = None
    """The run Secret, where it was made just now."""
    seen_at: str | None = None
    """Version of a list of Jobs that came after this one was created: a watch may go on from there."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What stood in the slot once our Job was there, and the version of that list."""

    rival: str | None
    version: str
    secret: SecretSnapshot | None = None


async def launch(planner: Planner, plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator) -> LaunchedJob:
    """Guard and create, until exactly one Job of the slot is ours.

    Nothing is awaited between a Job's opening or adoption and the return: whoever cancels this either gets
    the Job or finds it taken back.

    Raises:
        RunFailure: what the guard raises, `k8s_prompt_too_large`, `k8s_job_create_failed`,
            `k8s_prompt_secret_create_failed`; `k8s_job_deleted_externally` where the run had a Job before.
    """
    rival: str | None = None
    for _ in range(ports.settings.limits.gate_rounds):
        match await claim_slot(plan, held, ports, say):
            case Adopted(job) as found:
                return LaunchedJob(job, plan, _adoption(found), adopted=True)
            case Fresh(session) if session is not None and plan.attempt == 1 and session != plan.resume:
                await say.status(f"Going on with session {session}, where the agent's last run ended")
                plan = planner.plan(session=session)
        await _check(plan, held, ports, say)
        await announce(planner.ctx, plan)
        try:
            job, look = await _made(plan, held, ports, say)
        except _SecretsForbidden as refused:
            plan = await _without_secrets(planner, plan, refused, held, say)
            continue
        if look is None:
            line = f"Taking the result of K8s Job {job.ref.name}, in which this run has ended before"
            return LaunchedJob(job, plan, line, adopted=True)
        rival = look.rival
        if rival is None:
            deadline = f"{plan.deadline}s" if plan.deadline is not None else "none"
            line = f"Created K8s Job: {job.ref.name} in namespace {plan.namespace} (deadline: {deadline})"
            return LaunchedJob(job, plan, line, secret=look.secret, seen_at=look.version)
        await say.status(f"Job {rival} was created at the same moment; stepping back")
        await asyncio.sleep(random.uniform(*STEP_BACK))  # noqa: S311  # not for secrets
    raise RunFailure(failures.run_blocked(rival or "(unknown)"))


def _adoption(found: Adopted) -> str:
    """The headline of a Job that was there: only what still works is something to re-attach to."""
    job, prior = found.job.ref, found.prior_run or "unknown"
    if not is_live(found.job):
        whose = "our own earlier attempt" if found.own else "an earlier host process"
        return f"Taking the result of finished K8s Job {job.name} (prior run {prior}), which {whose} left"
    whose = "our own earlier attempt" if found.own else "an earlier host process left it"
    where = f"in namespace {job.namespace} (prior run {prior})"
    return f"Reattaching to in-flight K8s Job {job.name} {where}, {whose}"


async def _check(plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator) -> None:
    """Raises RunFailure where a Job must not or cannot be made."""
    if not await ports.journal.may_create():
        raise RunFailure(failures.job_gone(plan.job_name))
    if plan.object_bytes > OBJECT_BYTES:
        raise RunFailure(failures.prompt_too_large(plan.object_bytes, OBJECT_BYTES))
    if plan.by_init and not held.fenced:
        raise RunFailure(failures.init_needs_leases())
    if not plan.secret_data:
        await _check_ungated(ports, say)


async def _check_ungated(ports: Ports, say: Narrator) -> None:
    """Without a run Secret only the server keeps a second Pod from starting beside one that is deleted."""
    call = Retrier(ports.settings.timings, say)
    try:
        version = await call("read version", ports.cluster.server_version)
    except ClusterError as error:
        raise RunFailure(failures.guard_unreachable(error)) from None
    if version < REPLACEMENT_POLICY_SINCE:
        raise RunFailure(failures.init_needs_version(REPLACEMENT_POLICY_SINCE, version))


class _SecretsForbidden(Exception):
    """The account may not create Secrets; what the API server said of it."""

    def __init__(self, error: ClusterError) -> None:
        super().__init__(str(error))
        self.error = error


async def _without_secrets(
    planner: Planner, plan: RunPlan, refused: _SecretsForbidden, held: SlotLock, say: Narrator
) -> RunPlan:
    """The plan that needs no Secret. Raises RunFailure: only Leases could stand in for the gate."""
    if not held.fenced:
        raise RunFailure(failures.secret_create_failed(plan.job_name, refused.error)) from None
    await say.warn(f"{refused.error}; the prompt goes by an init container instead")
    other = planner.plan(fresh=plan.attempt > 1, session=plan.resume, secretless=True)
    for note in other.notes:
        if note not in plan.notes:
            await say.warn(note)
    return other


async def _made(
    plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator
) -> tuple[JobSnapshot, _Look | None]:
    """A Job with its gate open, unless a rival was seen; whatever else happens, nothing of it stays.

    No look was taken at one in which this very run has ended before.

    Raises:
        RunFailure: it was refused.
        _SecretsForbidden: its Secret was.
    """
    opened = False
    try:
        await stage(plan, ports.settings)
        job = await _create(plan, held, ports, say)
        look = await _opened(plan, job, ports, say) if is_live(job) else None
        opened = look is None or look.rival is None
        return job, look
    finally:
        if not opened and plan.delivery.staged:
            await unstage(plan.volume_here, plan.job_name)


async def _create(plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator) -> JobSnapshot:
    """The Job, new or as an earlier attempt of this very run left it: then its name is taken (SPEC 2.5)."""
    call = Retrier(ports.settings.timings, say)
    manifest = job_manifest(plan)
    if not held.fenced:
        manifest["metadata"]["annotations"] |= holder_annotations(ports, plan.namespace)
    if ports.journal.detached:
        manifest["metadata"]["annotations"] |= detached_annotations(plan.identity)
    try:
        return await call("create job", lambda: ports.cluster.create_job(plan.namespace, manifest))
    except asyncio.CancelledError:
        await _take_back_unanswered(plan, ports)
        raise
    except ClusterError as error:
        there = await _our_namesake(error, plan, ports, say)
        if there is not None and not there.deleting:
            return there
        if there is not None and await _has_left(there, plan, ports):
            return await _create(plan, held, ports, say)
        if error.may_have_been_done:
            await _take_back_unanswered(plan, ports)
        raise RunFailure(failures.job_create_failed(plan.job_name, error)) from None


async def _our_namesake(
    error: ClusterError, plan: RunPlan, ports: Ports, say: Narrator
) -> JobSnapshot | None:
    """The Job that has our name already, where this run made it."""
    if not error.conflict:
        return None
    call = Retrier(ports.settings.timings, say)
    try:
        there = await call("read job", lambda: ports.cluster.read_job(plan.namespace, plan.job_name))
    except ClusterError:
        return None
    return there if there is not None and _is_ours(there, plan) else None


async def _has_left(job: JobSnapshot, plan: RunPlan, ports: Ports) -> bool:
    """Whether a Job under deletion went while we waited; its Pod has gone before, or the guard had waited."""
    with suppress(TimeoutError):
        async with asyncio.timeout(plan.config.terminating_wait_sec):
            while True:
                with suppress(ClusterError):
                    there = await ports.cluster.read_job(plan.namespace, plan.job_name)
                    if there is None or there.ref.uid != job.ref.uid:
                        return True
                await asyncio.sleep(LOOK_AGAIN)
    return False


async def _take_back_unanswered(plan: RunPlan, ports: Ports) -> None:
    """A Job that may have been created although we were not told; it has no Secret, so it never started."""
    with suppress(ClusterError, TimeoutError):
        async with asyncio.timeout(ports.settings.timings.tidy):
            there = await ports.cluster.read_job(plan.namespace, plan.job_name)
            if there is not None and _is_ours(there, plan):
                await ports.cluster.delete_job(there.ref, "Background")


def _is_ours(job: JobSnapshot, plan: RunPlan) -> bool:
    """Whether this run made the Job that has its name; a label that is missing on a side says nothing."""
    who, labels = plan.identity, job.labels
    known = ((labels.get(RUN_LABEL), who.run), (labels.get(TASK_LABEL), who.task))
    return labels.items() >= who.selector.items() and not any(known_different(*pair) for pair in known)


async def _opened(plan: RunPlan, job: JobSnapshot, ports: Ports, say: Narrator) -> _Look:
    """Open the gate unless a rival stands in it; whatever fails or is cancelled here takes the Job back."""
    opened = False
    try:
        look = await _look_again(plan, job, ports, say)
        if look.rival is None:
            look = replace(look, secret=await _open_gate(plan, job, ports, say))
            opened = True
        return look
    finally:
        if not opened:
            await _take_back(job, ports)


async def _look_again(plan: RunPlan, job: JobSnapshot, ports: Ports, say: Narrator) -> _Look:
    """Another live Job of the slot, whatever its age: seen by a quorum list after ours existed."""
    call = Retrier(ports.settings.timings, say)
    selector = plan.identity.selector
    try:
        listing = await call("list jobs", lambda: ports.cluster.list_jobs(plan.namespace, selector))
    except ClusterError as error:
        raise RunFailure(failures.guard_unreachable(error)) from None
    rivals = other_live_jobs(job, listing.items, only_task=plan.config.concurrency_scope == "task")
    return _Look(rivals[0].ref.name if rivals else None, listing.resource_version)


async def _open_gate(plan: RunPlan, job: JobSnapshot, ports: Ports, say: Narrator) -> SecretSnapshot | None:
    try:
        return await open_gate(plan, job, ports, say)
    except ClusterError as error:
        if error.lacks_right:
            raise _SecretsForbidden(error) from None
        raise RunFailure(failures.secret_create_failed(job.ref.name, error)) from None


async def _take_back(job: JobSnapshot, ports: Ports) -> None:
    try:
        async with asyncio.timeout(ports.settings.timings.tidy):
            await ports.cluster.delete_job(job.ref, "Background")
    except (ClusterError, TimeoutError):
        return  # it has no Secret, so it never starts; its TTL or the next guard deals with it
