"""Get a Job for the run: adopt one, or create one and its run Secret. A failure deletes the new Job.

No Pod of a Job starts its agent without the run Secret (see `start_gate`), so the Secret is created last:

    1. the guard finds the slot free                    (`claim`)
    2. create the Job; its Pod cannot start the agent yet
    3. list the slot's Jobs again, now including ours
    4. if there is another live Job: delete ours, wait for a random time, start over
    5. else create the run Secret; the agent starts

If two hosts pass step 1 at the same moment, at least the one whose Job was created last sees the other Job in
step 3. Any failure or cancellation before step 5 has succeeded deletes the Job again.

A run without a Secret (an init container writes its prompt) has no such gate: its Pod starts in step 2. It
is refused unless a Lease keeps other hosts out of the slot.
"""

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.room import Share
from paperclip_claude_k8s.cluster.labels import RUN_LABEL, TASK_LABEL
from paperclip_claude_k8s.cluster.model import JobSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.plan.delivery import OBJECT_BYTES
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.requirements import REPLACEMENT_POLICY_SINCE, excludes_too_long
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.run.begin import announce, announce_adoption, check_daily_budget
from paperclip_claude_k8s.run.claim import Adopted, Fresh, claim_slot
from paperclip_claude_k8s.run.holder_annotations import detached_annotations, holder_annotations
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.packed_upload import (
    create_parts,
    packed_upload,
    room_of_job,
    take_upload_room,
)
from paperclip_claude_k8s.run.session_claim import ClaimsForbidden, use_session_claim
from paperclip_claude_k8s.run.start_gate import open_gate
from paperclip_claude_k8s.verdict.slot import is_live, known_different, other_live_jobs
from paperclip_claude_k8s.volume.staging import stage, unstage
from paperclip_claude_k8s.volume.upload_packing import PackedFolder

POLL_INTERVAL = 1.0
"""Seconds between two reads of a Job that is being deleted."""
BACK_OFF = (1.0, 3.0)
"""Range of the random wait in seconds after a collision, so that the two runs do not collide again."""


@dataclass(frozen=True, slots=True)
class LaunchedJob:
    """An existing Job of this run. `adopted`: found in the slot, or finished before under the same name."""

    job: JobSnapshot
    plan: RunPlan
    headline: str
    """Status line for the host: how the run got this Job."""
    adopted: bool = False
    prior_run: str | None = None
    """Label of the run that an adopted Job belonged to."""
    room: Share = field(default_factory=Share)
    """The share of `Ports.uploads` that the Job's parts take up; to be released with the Job."""
    secret: SecretSnapshot | None = None
    """The run Secret, if `launch` created it."""
    seen_at: str | None = None
    """resourceVersion of a list of Jobs that includes this one: a watch may start there."""


@dataclass(frozen=True, slots=True)
class _Created:
    """A Job that was created or found, and what happened to it next."""

    job: JobSnapshot
    finished: bool = False
    """An earlier attempt of this run created this Job under the same name, and the Job has finished."""
    other: str | None = None
    """Name of another live Job in the slot; ours was deleted."""
    secret: SecretSnapshot | None = None
    listed_at: str | None = None
    """As `LaunchedJob.seen_at`."""
    room: Share = field(default_factory=Share)
    """As `LaunchedJob.room`."""


async def launch(
    planner: Planner, plan: RunPlan, slot_lock: SlotLock, ports: Ports, narrator: Narrator
) -> LaunchedJob:
    """Claim the slot and create a Job until exactly one live Job of the slot is ours.

    If the call is cancelled, a Job that was created is deleted or returned; an adopted Job is kept.

    Raises:
        RunFailure: what `claim_slot`, `use_session_claim` and `packed_upload` raise; `claude_max_budget` if
            the agent has used up its daily budget meanwhile; `k8s_config_invalid` for settings with which no
            agent can start, `k8s_workspace_unavailable`, `k8s_prompt_too_large`, `k8s_job_create_failed`,
            `k8s_prompt_secret_create_failed`; `k8s_job_deleted_externally` if the run already had a Job.
    """
    other: str | None = None
    for _ in range(ports.settings.limits.launch_rounds):
        match await claim_slot(plan, slot_lock, ports, narrator):
            case Adopted(job, prior_run=prior) as found:
                await announce_adoption(planner.ctx, plan, job, prior)
                headline, room = _adoption_headline(found), room_of_job(job, ports)
                return LaunchedJob(job, plan, headline, adopted=True, prior_run=prior, room=room)
            case Fresh(session) if session is not None and _may_resume(session, plan):
                await narrator.status(f"Resuming session {session} from the agent's previous run")
                plan = planner.plan(session=session)
        await _check_creation(plan, slot_lock, ports, narrator)
        try:
            planner, plan, created = await _upload_and_create(planner, plan, slot_lock, ports, narrator)
        except _SecretsForbidden as refused:
            plan = await _without_secrets(planner, plan, refused, slot_lock, narrator)
            continue
        job, other = created.job, created.other
        if other is None:
            line = _finished_line(job) if created.finished else _created_line(job, plan)
            secret, seen_at = created.secret, created.listed_at
            return LaunchedJob(
                job, plan, line, adopted=created.finished, room=created.room, secret=secret, seen_at=seen_at
            )
        await narrator.status(f"Job {other} was created concurrently; backing off")
        await asyncio.sleep(random.uniform(*BACK_OFF))  # noqa: S311  # not for secrets
    raise RunFailure(failures.run_blocked(other or "(unknown)"))


def _may_resume(session: str, plan: RunPlan) -> bool:
    """Whether to plan again, so that the run resumes the session of the agent's previous run."""
    return plan.attempt == 1 and session != plan.resume and plan.session_volume.may_have_sessions


async def _with_session_volume(
    planner: Planner, plan: RunPlan, ports: Ports, narrator: Narrator
) -> tuple[Planner, RunPlan]:
    """Ensure that the claim of the session volume exists, or plan without it if claims are forbidden."""
    try:
        await use_session_claim(plan, ports, narrator)
    except ClaimsForbidden as refused:
        planner = planner.without_session_volume(str(refused))
        return planner, await _replanned(planner, plan, narrator)
    return planner, plan


async def _replanned(planner: Planner, plan: RunPlan, narrator: Narrator) -> RunPlan:
    """A new plan for the attempt of `plan`. Notes that `plan` did not have are warnings in the run's log."""
    new = planner.plan(fresh=plan.attempt > 1, session=plan.resume, secretless=plan.secretless)
    for note in new.notes:
        if note not in plan.notes:
            await narrator.warn(note)
    return new


def _finished_line(job: JobSnapshot) -> str:
    return f"Taking the result of K8s Job {job.ref.name}: this run has already finished in it"


def _created_line(job: JobSnapshot, plan: RunPlan) -> str:
    limit = plan.config.timeout_sec
    deadline = f"{limit:g}s" if limit else "none"
    return f"Created K8s Job: {job.ref.name} in namespace {plan.namespace} (deadline: {deadline})"


def _adoption_headline(found: Adopted) -> str:
    """The headline of an adopted Job, which may have finished."""
    job, prior = found.job.ref, found.prior_run or "unknown"
    creator = "our own earlier attempt" if found.own else "an earlier host process"
    if not is_live(found.job):
        return f"Taking the result of finished K8s Job {job.name} of {creator} (prior run {prior})"
    where = f"in namespace {job.namespace} (prior run {prior})"
    return f"Reattaching to in-flight K8s Job {job.name} {where}, created by {creator}"


async def _check_creation(plan: RunPlan, slot_lock: SlotLock, ports: Ports, narrator: Narrator) -> None:
    """Raises RunFailure if a Job must not or cannot be created."""
    if not await ports.journal.may_create():
        raise RunFailure(failures.job_gone(plan.job_name))
    too_long = excludes_too_long(plan)
    if too_long:
        raise RunFailure(failures.settings_too_long(too_long))
    if plan.object_bytes > OBJECT_BYTES:
        raise RunFailure(failures.prompt_too_large(plan.object_bytes, OBJECT_BYTES))
    if plan.workspace.folder and plan.secretless:
        why = "The agent's workspace is not available: an upload needs the right to create Secrets"
        step = "grant `create secrets` (`claude-k8s rbac` prints the Role), or set `workspace` to another way"
        raise RunFailure(failures.workspace_unavailable(why, step))
    if plan.by_init and not slot_lock.fenced:
        raise RunFailure(failures.init_needs_leases())
    if not plan.secret_data:
        await _check_replacement_policy(ports, narrator)


async def _check_replacement_policy(ports: Ports, narrator: Narrator) -> None:
    """Without a run Secret, only `podReplacementPolicy` prevents a second Pod beside one being deleted."""
    call = Retrier(ports.settings.timings, narrator)
    try:
        version = await call("read version", ports.cluster.server_version)
    except ClusterError as error:
        raise RunFailure(failures.guard_unreachable(error)) from None
    if version < REPLACEMENT_POLICY_SINCE:
        raise RunFailure(failures.init_needs_version(REPLACEMENT_POLICY_SINCE, version))


class _SecretsForbidden(Exception):
    """The account may not create Secrets."""

    def __init__(self, error: ClusterError) -> None:
        super().__init__(str(error))
        self.error = error


async def _without_secrets(
    planner: Planner, plan: RunPlan, refused: _SecretsForbidden, slot_lock: SlotLock, narrator: Narrator
) -> RunPlan:
    """A plan that needs no Secret. Raises RunFailure without Leases: then nothing prevents a second run."""
    if not slot_lock.fenced:
        raise RunFailure(failures.secret_create_failed(plan.job_name, refused.error)) from None
    await narrator.warn(f"{refused.error}; the prompt goes by an init container instead")
    return await _replanned(planner, replace(plan, secretless=True), narrator)


async def _upload_and_create(
    planner: Planner, plan: RunPlan, slot_lock: SlotLock, ports: Ports, narrator: Narrator
) -> tuple[Planner, RunPlan, _Created]:
    """Pack the folder that is uploaded, if any, and create claim, Job and Secrets.

    The wait for room comes before the claim is marked as used, because a mark must be recent when the Job
    is created.
    A detached Job takes up no room, because it may outlive this process.
    """
    async with AsyncExitStack() as held:
        room = held.enter_context(await take_upload_room(plan, planner.ctx, ports, narrator))
        check_daily_budget(planner.ctx, ports.settings)  # other runs may have spent it during the waits
        planner, plan = await _with_session_volume(planner, plan, ports, narrator)
        await announce(planner.ctx, plan)
        plan, packed = await held.enter_async_context(packed_upload(plan, room, ports, narrator))
        created = await _create(plan, packed, slot_lock, ports, narrator)
        if created.other is None and not ports.journal.detached:
            created = replace(created, room=room.hand_over())
    return planner, plan, created


async def _create(
    plan: RunPlan, packed: PackedFolder | None, slot_lock: SlotLock, ports: Ports, narrator: Narrator
) -> _Created:
    """Create Job and Secret unless another live Job holds the slot; roll back if anything fails.

    Raises:
        RunFailure: the API server refused a call, or could not be reached.
        _SecretsForbidden: the account may not create the Secret.
    """
    needs_staged_files = False
    try:
        await stage(plan, ports.settings)
        job = await _create_job(plan, slot_lock, ports, narrator)
        for text in job.warnings:
            await narrator.warn(f"The API server warns about the Job: {text}")
        if is_live(job):
            slot_lock.job_uid = job.ref.uid
            ports.owned_jobs.add(job.ref.uid)  # no other run of this process may delete it from now on
            created = await _start(plan, packed, job, ports, narrator)
        else:
            created = _Created(job, finished=True)
        needs_staged_files = created.other is None
        return created
    finally:
        if not needs_staged_files:
            ports.owned_jobs.discard(slot_lock.job_uid)
        if not needs_staged_files and plan.delivery.staged:
            await unstage(plan.volume_here, plan.job_name)


async def _create_job(plan: RunPlan, slot_lock: SlotLock, ports: Ports, narrator: Narrator) -> JobSnapshot:
    """Create the Job, or return the one that an earlier attempt of this run created under the same name."""
    call = Retrier(ports.settings.timings, narrator)
    manifest = job_manifest(plan)
    if not slot_lock.fenced:
        manifest["metadata"]["annotations"] |= holder_annotations(ports, plan.namespace)
    if ports.journal.detached:
        manifest["metadata"]["annotations"] |= detached_annotations(plan.identity)
    try:
        return await call("create job", lambda: ports.cluster.create_job(plan.namespace, manifest))
    except asyncio.CancelledError:
        await _delete_unconfirmed(plan, ports)
        raise
    except ClusterError as error:
        existing = await _existing_job(plan, ports, narrator) if error.conflict else None
        if existing is not None and not existing.deleting:
            return existing
        if existing is not None and await _wait_until_deleted(existing, plan, ports):
            return await _create_job(plan, slot_lock, ports, narrator)
        if error.may_have_been_done:
            await _delete_unconfirmed(plan, ports)
        raise RunFailure(failures.job_create_failed(plan.job_name, error)) from None


async def _existing_job(plan: RunPlan, ports: Ports, narrator: Narrator) -> JobSnapshot | None:
    """The existing Job with this run's Job name, if this run created it."""
    call = Retrier(ports.settings.timings, narrator)
    try:
        job = await call("read job", lambda: ports.cluster.read_job(plan.namespace, plan.job_name))
    except ClusterError:
        return None
    return job if job is not None and _is_ours(job, plan) else None


async def _wait_until_deleted(job: JobSnapshot, plan: RunPlan, ports: Ports) -> bool:
    """Wait until a terminating Job is deleted; False if it still exists after `terminatingWaitSec`.

    Its Pod has ended already: otherwise the guard would have waited for it.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(plan.config.terminating_wait_sec):
            while True:
                with suppress(ClusterError):
                    found = await ports.cluster.read_job(plan.namespace, plan.job_name)
                    if found is None or found.ref.uid != job.ref.uid:
                        return True
                await asyncio.sleep(POLL_INTERVAL)
    return False


async def _delete_unconfirmed(plan: RunPlan, ports: Ports) -> None:
    """Delete a Job that may have been created although no response arrived; it has no Secret yet."""
    with suppress(ClusterError, TimeoutError):
        async with asyncio.timeout(ports.settings.timings.cleanup):
            job = await ports.cluster.read_job(plan.namespace, plan.job_name)
            if job is not None and _is_ours(job, plan):
                await ports.cluster.delete_job(job.ref, "Background")


def _is_ours(job: JobSnapshot, plan: RunPlan) -> bool:
    """Whether this run created a Job with the run's Job name; a label missing on one side proves nothing."""
    identity, labels = plan.identity, job.labels
    pairs = ((labels.get(RUN_LABEL), identity.run), (labels.get(TASK_LABEL), identity.task))
    same_agent = labels.items() >= identity.selector.items()
    return same_agent and not any(known_different(*pair) for pair in pairs)


async def _start(
    plan: RunPlan, packed: PackedFolder | None, job: JobSnapshot, ports: Ports, narrator: Narrator
) -> _Created:
    """Create the run Secret, if the run has one, unless the slot has another live Job.

    If there is another live Job, a call fails, or this call is cancelled, the Job is deleted.
    """
    started = False
    try:
        created = await _list_again(plan, job, ports, narrator)
        if created.other is None:
            secret = await _create_secrets(plan, packed, job, ports, narrator)
            created = _Created(job, secret=secret, listed_at=created.listed_at)
            started = True
        return created
    finally:
        if not started:
            await _roll_back(job, ports)


async def _list_again(plan: RunPlan, job: JobSnapshot, ports: Ports, narrator: Narrator) -> _Created:
    """Look for another live Job in the slot, with a consistent list made after ours was created."""
    call = Retrier(ports.settings.timings, narrator)
    selector = plan.identity.selector
    try:
        listing = await call("list jobs", lambda: ports.cluster.list_jobs(plan.namespace, selector))
    except ClusterError as error:
        raise RunFailure(failures.guard_unreachable(error)) from None
    others = other_live_jobs(job, listing.items, only_task=plan.config.concurrency_scope == "task")
    other = others[0].ref.name if others else None
    return _Created(job, other=other, listed_at=listing.resource_version)


async def _create_secrets(
    plan: RunPlan, packed: PackedFolder | None, job: JobSnapshot, ports: Ports, narrator: Narrator
) -> SecretSnapshot | None:
    """Create the Secrets of an upload and of large skills, then the run Secret: with it the agent starts."""
    try:
        await create_parts(packed, plan, job, ports, narrator)
        return await open_gate(plan, job, ports, narrator)
    except ClusterError as error:
        if error.lacks_right and packed is None:
            raise _SecretsForbidden(error) from None
        raise RunFailure(failures.secret_create_failed(job.ref.name, error)) from None


async def _roll_back(job: JobSnapshot, ports: Ports) -> None:
    """Delete the Job. Errors are ignored.

    If the Job stays, its agent never starts without the run Secret, and the next guard deletes the Job. The
    agent of a run without a Secret may work on; then the next guard adopts the Job or is blocked by it.
    """
    with suppress(ClusterError, TimeoutError):
        async with asyncio.timeout(ports.settings.timings.cleanup):
            await ports.cluster.delete_job(job.ref, "Background")
