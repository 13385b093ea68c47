"""Adopts, deletes or skips the Jobs that other attempts and other host processes left behind."""

from collections.abc import Collection, Sequence
from contextlib import suppress

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.labels import (
    AGENT_POD_ANNOTATION,
    JOB_NAME_LABEL,
    NONCE_ANNOTATION,
    RESULT_ANNOTATION,
    RUN_LABEL,
    SESSION_LABEL,
    TAKEN_ANNOTATION,
    TASK_LABEL,
    UNGATED_ANNOTATION,
    json_pointer,
)
from paperclip_claude_k8s.cluster.model import (
    ContainerSnapshot,
    JobSnapshot,
    JsonObject,
    PodSnapshot,
    Running,
    Terminated,
)
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import Ports, SlotLock
from paperclip_claude_k8s.relay import read_summary
from paperclip_claude_k8s.run.holder_annotations import holder_annotations
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.slot import is_live, known_different, known_equal


async def adopt(
    job: JobSnapshot, plan: RunPlan, slot_lock: SlotLock, ports: Ports, narrator: Narrator
) -> JobSnapshot | None:
    """Label the Job as one of this run and return it; without a Lease, name this process as its holder.

    Returns None if the Job has to be changed, but no longer exists or was changed since it was listed.

    Raises:
        RunFailure: `k8s_pod_reattach_failed`.
    """
    own_labels = {RUN_LABEL: plan.identity.run, SESSION_LABEL: plan.identity.session}
    labels = {key: value for key, value in own_labels.items() if value and job.labels.get(key) != value}
    annotations = {} if slot_lock.fenced else holder_annotations(ports, plan.namespace)
    if not labels and not annotations:
        return job
    patch: list[JsonObject] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": job.resource_version},
        *(_add_operation("labels", key, value) for key, value in labels.items()),
        *(_add_operation("annotations", key, value) for key, value in annotations.items()),
    ]
    call = Retrier(ports.settings.timings, narrator)
    try:
        return await call("patch job", lambda: ports.cluster.patch_job(job.ref, patch))
    except ClusterError as error:
        if error.conflict or error.invalid:  # the `test` failed: the Job was changed since it was listed
            return None
        raise RunFailure(failures.adoption_failed(job.ref.name, error)) from None


async def delete_never_started(
    jobs: Sequence[JobSnapshot],
    pods: Sequence[PodSnapshot],
    owned: Collection[str],
    ports: Ports,
    narrator: Narrator,
) -> list[JobSnapshot]:
    """Delete live Jobs whose run Secret was never created; return the remaining Jobs.

    Without the Secret no Pod of the Job starts its agent, and only the Job's holder, which is gone, creates
    the Secret. `owned`: uids of Jobs whose holder is alive. A Job is kept if an annotation names the only Pod
    that may run its agent, or if a Pod has started its agent: then it had a Secret, which was deleted later.
    """
    deleted: set[str] = set()
    for job in perhaps_never_started(jobs, pods, owned):
        if await _delete_if_without_secret(job, ports):
            deleted.add(job.ref.uid)
            text = "its run Secret was never created, so it never started"
            await narrator.status(f"Deleted orphaned Job {job.ref.name}: {text}")
    return [job for job in jobs if job.ref.uid not in deleted]


def perhaps_never_started(
    jobs: Sequence[JobSnapshot], pods: Sequence[PodSnapshot], owned: Collection[str]
) -> list[JobSnapshot]:
    """The live Jobs without a live holder whose run Secret may be missing because it was never created."""
    kept = {*owned, *(pod.job_uid for pod in pods if pod.agent is not None and _has_started(pod.agent))}
    live = [job for job in jobs if is_live(job) and job.ref.uid not in kept]
    not_by_secret = {UNGATED_ANNOTATION, AGENT_POD_ANNOTATION}
    return [job for job in live if not_by_secret.isdisjoint(job.annotations)]


async def _delete_if_without_secret(job: JobSnapshot, ports: Ports) -> bool:
    """Delete the Job if it has no run Secret. False: it has a Secret, or a call failed."""
    ref = job.ref
    try:
        if await ports.cluster.read_secret(ref.namespace, ref.name) is not None:
            return False
        await ports.cluster.delete_job(ref, "Background")
    except ClusterError:
        return False
    return True


async def skip_unclaimed(
    jobs: tuple[JobSnapshot, ...], plan: RunPlan, ports: Ports, narrator: Narrator
) -> str | None:
    """Annotate finished Jobs of other wakes as taken: no run uses their results.

    Returns the newest session of our task among them.
    """
    session: str | None = None
    for job in sorted(jobs, key=lambda job: job.created_or_earliest):
        task = job.labels.get(TASK_LABEL)
        if await annotate_as_taken(job, ports):
            other = "task" if known_different(task, plan.identity.task) else "wake"
            why = f"it finished while no host was watching and belongs to a different {other}"
            await narrator.status(f"Ignoring the result of Job {job.ref.name}: {why}")
        if known_equal(task, plan.identity.task):
            session = await _session_of(job, ports) or session
    return session


async def delete_endless(jobs: tuple[JobSnapshot, ...], ports: Ports, narrator: Narrator) -> None:
    """Delete Jobs that never finish, and so never expire, because other containers outlive the agent."""
    for job in jobs:
        with suppress(ClusterError):  # the next run tries again
            await ports.cluster.delete_job(job.ref, "Background")
            why = "its agent has ended, and other containers keep its Pod running"
            await narrator.status(f"Deleted Job {job.ref.name}: {why}")


async def annotate_as_taken(
    job: JobSnapshot, ports: Ports, *, finish: bool = False, result: ExecutionResult | None = None
) -> bool:
    """Annotate a Job whose result was used or skipped; False if the patch failed.

    `finish`: give the Job a deadline that has passed, because nothing else finishes it. `result`: a
    short form of it is annotated too.
    """
    patch = [_add_operation("annotations", TAKEN_ANNOTATION, format_time(ports.settings.now()))]
    if result is not None:
        patch.append(_add_operation("annotations", RESULT_ANNOTATION, _short_result(result)))
    if finish:
        patch.append({"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1})
    try:
        return await ports.cluster.patch_job(job.ref, patch) is not None
    except ClusterError:
        return False  # the next run skips the Job again


def _short_result(result: ExecutionResult) -> str:
    """What `claude-k8s stats` reads from retained Jobs. Its only text from the agent is the model's name."""
    wire = result.to_wire()
    phases = (wire.get("resultJson") or {}).get("phases")
    short = {key: wire[key] for key in ("errorCode", "costUsd", "usage") if wire.get(key) is not None}
    short |= {"model": (result.model or "")[: LIMITS.name_chars], "resultJson": {"phases": phases}}
    return strict_json(short).decode()


async def _session_of(job: JobSnapshot, ports: Ports) -> str | None:
    """The session in the relay's summary of a finished Job; None if it is unknown or the agent failed."""
    nonce = job.annotations.get(NONCE_ANNOTATION)
    try:
        pods = await ports.cluster.list_pods(job.ref.namespace, {JOB_NAME_LABEL: job.ref.name})
    except ClusterError:
        return None
    messages = [_termination_message(pod) for pod in pods.items if pod.job_uid == job.ref.uid]
    summaries = [read_summary(message, nonce) for message in messages if nonce]
    successes = [summary for summary in summaries if summary is not None and summary.is_error is False]
    return successes[0].session_id if successes else None  # at most one Pod of a Job has run an agent


def _has_started(agent: ContainerSnapshot) -> bool:
    return isinstance(agent.state, (Running, Terminated))


def _termination_message(pod: PodSnapshot) -> str:
    agent = pod.agent
    return agent.state.message if agent is not None and isinstance(agent.state, Terminated) else ""


def _add_operation(field: str, key: str, value: str) -> JsonObject:
    """One operation of a JSON patch."""
    return {"op": "add", "path": json_pointer("metadata", field, key), "value": value}
