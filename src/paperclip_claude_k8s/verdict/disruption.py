"""Why a Pod was taken away before its agent had ended, according to Pod, Job and Events.

The Pod's own status comes first. Kubernetes names evictions and preemptions there (the `DisruptionTarget`
condition, since 1.26), but does not name a plain deletion, a suspended Job, or `parallelism: 0`. Those are
concluded from the Job. Events then add details.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from paperclip_claude_k8s.claude.failure_texts import LOST_CONTAINER
from paperclip_claude_k8s.cluster.labels import CONTROLLER_UID_LABELS
from paperclip_claude_k8s.cluster.model import EventSnapshot, Known, PodSnapshot, Terminated
from paperclip_claude_k8s.relay import NOT_ONLY_POD_CODE

DEADLINE_EXCEEDED = "DeadlineExceeded"
"""Reason in the condition of a Job, or in the status of a Pod, that exceeded `activeDeadlineSeconds`."""

CAUSES = frozenset(
    {
        # about the Pod
        *("TaintManagerEviction", "Preempted", "Preempting", "Evicted", "NodeNotReady", "NodeShutdown"),
        *("ScaleDown", "Descheduled", "EvictedByVPA"),  # also about the Pod, by autoscalers or descheduler
        *("Suspended", "Stopped"),  # about the Job; the second is Kueue's
        *("SystemOOM", "Rebooted", "Shutdown"),  # about the node
    }
)
"""Reasons of Events that explain why a Pod was taken away."""

_SIGTERM_CODE, _SIGKILL_CODE = 143, 137


@dataclass(frozen=True, slots=True)
class Disruption:
    """Why a Pod was taken away.

    `reason`: CamelCase words for messages. `named`: the Pod's own status shows the reason.
    """

    reason: str
    details: str
    named: bool = False


POD_RELEASED = Disruption(
    "PodReleased",
    "its labels or its owner reference were changed, so the Job controller released it before its agent "
    "started; the run Secret was deleted so that no other Pod starts the agent",
)
JOB_SUSPENDED = Disruption("JobSuspended", "the Job was suspended, so the Job controller deleted the Pod")


def named_disruption(pod: PodSnapshot) -> Disruption | None:
    """Why the Pod was taken away, if its status names a reason."""
    target = pod.condition("DisruptionTarget")
    # In these phases, a reason means that the Pod was ended as a whole: Evicted, Preempting, NodeLost, ...
    ended_as_a_whole = pod.phase in {"Failed", "Unknown"} and pod.reason not in {"", DEADLINE_EXCEEDED}
    reasons = [pod.reason] if ended_as_a_whole else []
    details = pod.message
    if target is not None and target.is_true:
        reasons.append(target.reason or "DisruptionTarget")
        details = details or target.message
    return Disruption(", ".join(reasons), details, named=True) if reasons else None


def disruption(known: Known) -> Disruption | None:
    """Why our Pod is being or was taken away; None if it is not.

    Before Kubernetes 1.26, the status of a Pod names no cause except an eviction by the kubelet.
    """
    pod = known.pod
    if pod is None:
        return None
    named = named_disruption(pod)
    if named is None and _was_refused_by_relay(pod):
        return Disruption(
            "PodReplaced", "another Pod of this Job ran the agent and was taken away", named=True
        )
    if named is not None or not (pod.deleting or known.pod_gone):
        return named
    match known.stopped_by_job:
        case "suspended":
            return JOB_SUSPENDED
        case "parallelism":
            return Disruption("JobScaledDown", "the Job's parallelism was set to 0")
        case "":
            return Disruption("PodDeleted", "the Pod was deleted or evicted, or its node was drained")


def lost_container(end: Terminated) -> Disruption | None:
    """The disruption of a container whose end the kubelet did not see; None if it saw the end."""
    if end.reason not in LOST_CONTAINER:
        return None
    text = "the container was gone when the kubelet looked for it, as after a restart of its node or runtime"
    message = " ".join(end.message.split())
    return Disruption("ContainerLost", f"{text}: {message}" if message else text)


def is_killed(end: Terminated) -> bool:
    """Whether SIGTERM or SIGKILL ended the container: the kubelet sends them, but others may do so too."""
    return end.exit_code in {_SIGTERM_CODE, _SIGKILL_CODE}


def disruption_by_event(events: Iterable[EventSnapshot], since: datetime | None) -> Disruption | None:
    """The disruption that the last Event with a reason in `CAUSES` reports; None if there is no such Event.

    For a container that was killed, if no status says why. `events`: of Pod, Job and node, oldest first.
    `since`: the start of the container; earlier Events are ignored.
    """
    causes = [event for event in events if event.reason in CAUSES and not _older(event, since)]
    return Disruption(causes[-1].reason, causes[-1].message) if causes else None


def _was_refused_by_relay(pod: PodSnapshot) -> bool:
    """Whether the relay in this Pod refused to start the agent, because the run Secret names another Pod."""
    agent = pod.agent
    return (
        agent is not None
        and isinstance(agent.state, Terminated)
        and agent.state.exit_code == NOT_ONLY_POD_CODE
    )


def with_events(
    found: Disruption, events: Iterable[EventSnapshot], since: datetime | None = None
) -> Disruption:
    """`found`, with the message of the last Event of each reason in `CAUSES` added to its details.

    `events`: of Pod and Job, oldest first; those before `since` are ignored.
    """
    causes = [event for event in events if event.reason in CAUSES and not _older(event, since)]
    newest = {event.reason: event.message for event in causes}
    added = "; ".join(f"{reason}: {message}" for reason, message in newest.items())
    details = f"{found.details} ({added})" if added and found.details else added or found.details
    return replace(found, details=details)


def _older(event: EventSnapshot, since: datetime | None) -> bool:
    return event.seen is not None and since is not None and event.seen < since


def may_be_replaced(known: Known) -> bool:
    """Whether the Job controller may start another Pod now or soon, although our agent runs or has run.

    Controllers before 1.26 count only the failed Pods that still exist. If a failed Pod is deleted before it
    was counted, the Job gets another one. Later controllers keep each Pod (by a finalizer) until it is
    counted.
    """
    pod, job = known.pod, known.job
    if pod is None:
        return False
    # A Job that has kept `podReplacementPolicy: Failed` has a newer controller, with that finalizer.
    uncounted = pod.phase == "Failed" and (job is None or job.replaces_terminating_pods)
    return known.pod_gone or pod.deleting or uncounted or is_released(known)


def is_released(known: Known) -> bool:
    """Whether the Job controller has released the Pod, or is about to because the Pod's labels changed."""
    labels = known.pod.labels if known.pod is not None else {}
    has_label = any(label in labels for label in CONTROLLER_UID_LABELS)
    return known.pod is not None and (known.pod_released or not has_label)
