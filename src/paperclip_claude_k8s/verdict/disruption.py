"""Who took a Pod away before its agent was done, as far as Pod, Job and Events tell (SPEC 8)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from paperclip_claude_k8s.cluster.labels import CONTROLLER_UID_LABELS
from paperclip_claude_k8s.cluster.model import EventSnapshot, Known, PodSnapshot, Terminated
from paperclip_claude_k8s.relay import NOT_ONLY_POD_CODE

TAKEN_AWAY = frozenset({"Evicted", "Preempting", "Shutdown", "NodeLost", "Terminated", "NodeShutdown"})
"""Reasons of a Pod's status that mean somebody took it away; newer servers add a condition."""

CAUSES = frozenset(
    {
        *("TaintManagerEviction", "Preempted", "Evicted", "NodeNotReady", "NodeShutdown"),  # about the Pod
        *("Suspended", "Stopped"),  # about the Job; the second is Kueue's
    }
)
"""Reasons of Events that say why a Pod was taken away."""


@dataclass(frozen=True, slots=True)
class Disruption:
    """`reason` is one word as Kubernetes would put it. `named`: the Pod's own status says it."""

    reason: str
    words: str
    named: bool = False


POD_RELEASED = Disruption(
    "PodReleased",
    "its labels or its owner reference were changed, so the Job controller released it before its agent "
    "started, and the run Secret was deleted so that no other Pod starts the agent",
)
JOB_SUSPENDED = Disruption("JobSuspended", "somebody suspended the Job, so its controller deleted the Pod")


def named_disruption(pod: PodSnapshot) -> Disruption | None:
    """What the Pod's status says of who took it away."""
    target = pod.condition("DisruptionTarget")
    named = [pod.reason] if pod.reason in TAKEN_AWAY else []
    words = pod.message
    if target is not None and target.is_true:
        named.append(target.reason or "DisruptionTarget")
        words = words or target.message
    return Disruption(", ".join(named), words, named=True) if named else None


def disruption(known: Known) -> Disruption | None:
    """Why our Pod is being or was taken away, if it is.

    Kubernetes names evictions and preemptions in the Pod's status, servers before 1.26 only those by the
    kubelet. A plain deletion, a suspended Job and `parallelism: 0` are named there by no version.
    """
    pod = known.pod
    if pod is None:
        return None
    named = named_disruption(pod)
    if named is None and _ran_nothing(pod):
        return Disruption(
            "PodReplaced", "another Pod of this Job ran the agent, and was taken away", named=True
        )
    if named is not None or not (pod.deleting or known.pod_gone):
        return named
    match known.stopped_by_job:
        case "suspended":
            return JOB_SUSPENDED
        case "parallelism":
            return Disruption("JobScaledDown", "somebody set the Job's parallelism to 0")
        case "":
            return Disruption("PodDeleted", "somebody deleted the Pod, evicted it or drained its node")


def _ran_nothing(pod: PodSnapshot) -> bool:
    """Whether its relay did not start the agent, since the run Secret names another Pod."""
    agent = pod.agent
    return (
        agent is not None and isinstance(agent.now, Terminated) and agent.now.exit_code == NOT_ONLY_POD_CODE
    )


def with_events(
    found: Disruption, events: Iterable[EventSnapshot], since: datetime | None = None
) -> Disruption:
    """The same with what the newest Events about Pod and Job add, none of them older than the Pod."""
    causes = [event for event in events if event.reason in CAUSES and not _older(event, since)]
    told = {event.reason: event.message for event in causes}
    words = "; ".join(f"{reason}: {message}" for reason, message in told.items())
    return replace(found, words=f"{found.words} ({words})" if words and found.words else words or found.words)


def _older(event: EventSnapshot, since: datetime | None) -> bool:
    return event.seen is not None and since is not None and event.seen < since


def may_be_replaced(known: Known) -> bool:
    """Whether a Job controller may now, or soon, start another Pod while our agent is at work or has been.

    Controllers before 1.26 count failed Pods by those that are there: one that is deleted once it failed may
    never be counted, and its Job gets another. Later ones hold each Pod until it is counted.
    """
    pod, job = known.pod, known.job
    if pod is None:
        return False
    uncounted = pod.phase == "Failed" and (job is None or job.replaces_dying_pods)
    return known.pod_gone or pod.deleting or uncounted or is_released(known)


def is_released(known: Known) -> bool:
    """Whether the Job controller does not count the Pod any more, or is about to: its labels were changed."""
    labels = known.pod.labels if known.pod is not None else {}
    counted = any(label in labels for label in CONTROLLER_UID_LABELS)
    return known.pod is not None and (known.pod_released or not counted)
