"""Whether a Job stays in the cluster when its run no longer needs it."""

from typing import Literal, TypeAlias

from paperclip_claude_k8s.cluster.model import Known

LeaveReason: TypeAlias = Literal[
    "done", "end_unknown", "not_recorded", "taken_over", "shutdown", "detached", "bug"
]
"""Why a run leaves its Job, in the same order: the run ended; its end could not be observed; its result could
not be recorded; another host process took over the Job; this process shuts down; the command stops waiting,
and the run goes on; a bug ended the observation."""

_REASONS: dict[LeaveReason, str] = {
    "shutdown": "this host process is shutting down; the next one adopts it",
    "detached": "this command no longer waits for it, and the agent works on",
    "taken_over": "another host process took it over while this one did not renew its Lease",
    "end_unknown": "its end could not be observed",
    "not_recorded": "its result could not be recorded",
    "bug": "a bug in the adapter ended the observation; the next process adopts it",
}


def reason_to_keep(
    reason: LeaveReason, *, retain: bool, log_unread: bool = False, changes_pending: bool = False
) -> str | None:
    """Why the Job stays, or None to delete it. The garbage collector deletes the run Secret with it.

    `log_unread`: the API server refused to return the end of the log, which the Pod may still have.
    `changes_pending`: the Pod has changes to an uploaded folder that could not be applied yet.
    """
    if reason != "done":
        return _REASONS[reason]
    if changes_pending:
        return "its Pod has the only copy of what the agent changed"
    if retain:
        return "retainJobs=true"
    return "its log could not be read; `kubectl logs` may show it" if log_unread else None


def pod_stays(known: Known) -> bool:
    """Whether the Pod and its log remain as long as the Job does."""
    return known.pod is not None and not known.pod.deleting and not known.pod_gone


def never_finishes(known: Known) -> bool:
    """Whether the Job would stay unfinished, so that its TTL would never start.

    A Job gets `parallelism` 0 so that no second Pod is created. The Job controllers of old servers (1.20) do
    not count a failed or deleted Pod of such a Job as a failure.
    """
    job, pod = known.job, known.pod
    if job is None or job.parallelism != 0 or job.finished is not None:
        return False
    return known.pod_gone or (pod is not None and (pod.phase == "Failed" or pod.deleting))
