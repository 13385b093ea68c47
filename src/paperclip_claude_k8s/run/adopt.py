"""Jobs that other attempts and other host processes left behind: made ours, or passed over."""

from collections.abc import Collection, Sequence

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.labels import (
    AGENT_POD_ANNOTATION,
    JOB_NAME_LABEL,
    NONCE_ANNOTATION,
    RUN_LABEL,
    SESSION_LABEL,
    TAKEN_ANNOTATION,
    TASK_LABEL,
    UNGATED_ANNOTATION,
    json_pointer,
)
from paperclip_claude_k8s.cluster.model import JobSnapshot, JsonObject, PodSnapshot, Terminated
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.context import iso
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.relay import read_summary
from paperclip_claude_k8s.run.holder_annotations import holder_note
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.slot import is_live, known_different, known_equal

"""Answers to a patch whose test failed: somebody changed the Job since we saw it."""


async def adopt(
    job: JobSnapshot, plan: RunPlan, held: SlotLock, ports: Ports, say: Narrator
) -> JobSnapshot | None:
    """Make the Job ours by its labels; None when it is gone or changed meanwhile.

    Raises:
        RunFailure: `k8s_pod_reattach_failed`.
    """
    ours = {RUN_LABEL: plan.identity.run, SESSION_LABEL: plan.identity.session}
    changed = {key: value for key, value in ours.items() if value and job.labels.get(key) != value}
    note = {} if held.fenced else holder_note(ports, plan.namespace)
    if not changed and not note:
        return job
    patch: list[JsonObject] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": job.resource_version},
        *(_added("labels", key, value) for key, value in changed.items()),
        *(_added("annotations", key, value) for key, value in note.items()),
    ]
    call = Retrier(ports.settings.timings, say)
    try:
        return await call("patch job", lambda: ports.cluster.patch_job(job.ref, patch))
    except ClusterError as error:
        if error.conflict or error.invalid:
            return None
        raise RunFailure(failures.adoption_failed(job.ref.name, error)) from None


async def clear_unopened(
    jobs: Sequence[JobSnapshot], held: Collection[str], ports: Ports, say: Narrator
) -> list[JobSnapshot]:
    """Delete living Jobs that were left before their Secret was there; the others.

    Without it no Pod ever started, and with its holder dead none will. `held`: uids whose holder is alive.
    A Job that names the only Pod which may run its agent had one, and lost the Secret after that.
    """
    kept = []
    for job in jobs:
        gated = UNGATED_ANNOTATION not in job.annotations and AGENT_POD_ANNOTATION not in job.annotations
        orphaned = gated and is_live(job) and job.ref.uid not in held
        if not orphaned or await _was_opened(job, ports):
            kept.append(job)
        else:
            await say.status(f"Job {job.ref.name} was left before it could start; deleted")
    return kept


async def _was_opened(job: JobSnapshot, ports: Ports) -> bool:
    ref = job.ref
    try:
        if await ports.cluster.read_secret(ref.namespace, ref.name) is not None:
            return True
        await ports.cluster.delete_job(ref, "Background")
    except ClusterError:
        return True  # what cannot be looked at is believed to run
    return False


async def pass_over(jobs: tuple[JobSnapshot, ...], plan: RunPlan, ports: Ports, say: Narrator) -> str | None:
    """Mark results that answer another wake as taken; the newest session of our task, to go on from."""
    session: str | None = None
    for job in sorted(jobs, key=lambda job: str(job.created)):
        theirs = job.labels.get(TASK_LABEL)
        if await mark_taken(job, ports):
            other = "task" if known_different(theirs, plan.identity.task) else "wake"
            await say.status(f"Job {job.ref.name} finished unheard; its result answers another {other}")
        if known_equal(theirs, plan.identity.task):
            session = await _session_of(job, ports) or session
    return session


async def mark_taken(job: JobSnapshot, ports: Ports) -> bool:
    """Note on a Job that its result was answered; False where that could not be done."""
    try:
        noted = _added("annotations", TAKEN_ANNOTATION, iso(ports.settings.now()))
        return await ports.cluster.patch_job(job.ref, [noted]) is not None
    except ClusterError:
        return False  # it will be passed over once more; nothing worse


async def _session_of(job: JobSnapshot, ports: Ports) -> str | None:
    """The session that a finished Job's relay noted; None where nothing is known or it failed."""
    nonce = job.annotations.get(NONCE_ANNOTATION)
    try:
        pods = await ports.cluster.list_pods(job.ref.namespace, {JOB_NAME_LABEL: job.ref.name})
    except ClusterError:
        return None
    ours = [pod for pod in pods.items if pod.job_uid == job.ref.uid]
    summary = read_summary(_message(ours[0]), nonce) if ours and nonce else None
    return summary.session_id if summary is not None and summary.is_error is False else None


def _message(pod: PodSnapshot) -> str:
    agent = pod.agent
    return agent.now.message if agent is not None and isinstance(agent.now, Terminated) else ""


def _added(field: str, key: str, value: str) -> JsonObject:
    """One entry of a JSON patch."""
    return {"op": "add", "path": json_pointer("metadata", field, key), "value": value}
