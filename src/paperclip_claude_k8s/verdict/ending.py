"""Has the run ended, and how?

Only a positive observation ends a run: a terminated container, a final Pod phase, or a Pod or Job that is
known to be gone. A broken connection or a failed read proves nothing, because the agent may still work.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cluster.labels import CANCELLED_ANNOTATION
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    Known,
    PodSnapshot,
    Running,
    Terminated,
)
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.disruption import (
    DEADLINE_EXCEEDED,
    disruption,
    lost_container,
    named_disruption,
)
from paperclip_claude_k8s.verdict.not_executable import start_error
from paperclip_claude_k8s.verdict.start import BACKOFF_LIMIT_EXCEEDED

MAX_CANCELLER_CHARS = 200
"""Maximum characters that are shown of the annotation that names who cancelled a run."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The agent's container terminated, and not because its Pod was taken away or this process stopped it."""

    terminated: Terminated


@dataclass(frozen=True, slots=True)
class Disrupted:
    """The Pod was taken away: evicted, preempted, deleted, or its node was lost.

    `terminated`: the end of the agent's container, if it was reported. `named`: the Pod's own status names
    the reason. Otherwise the reason was concluded, and Events may add details.
    """

    pod: str
    reason: str
    details: str
    terminated: Terminated | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class JobGone:
    """The Job was deleted, and not by us. `seen_by`: the kind of call that showed it, such as `watch`."""

    seen_by: str
    terminated: Terminated | None = None
    cancelled_by: str = ""
    """Who cancelled the run with `claude-k8s cancel`; "" if the Job was deleted in another way."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time limit has passed: `timeoutSec`, or the later `activeDeadlineSeconds` of the Job."""

    terminated: Terminated | None = None


class StopReason(Enum):
    """Why this process stops an agent. The log line begins with the value."""

    CANCEL = "Run cancelled"
    DEADLINE = "Time limit reached"
    BUDGET = "Cost limit passed"
    NO_EXIT = "Claude printed its result and did not exit"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The agent was stopped because the host cancelled the run. `proven`: the Pod is known to be gone."""

    proven: bool
    terminated: Terminated | None = None


@dataclass(frozen=True, slots=True)
class OverBudget:
    """The agent was stopped because its known cost exceeded `limit`. Both amounts are in US dollars."""

    cost: float
    limit: float
    terminated: Terminated | None = None


@dataclass(frozen=True, slots=True)
class StoppedAfterResult:
    """The agent printed its final result, did not exit within `grace` seconds, and was stopped."""

    grace: float
    terminated: Terminated | None = None


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The agent's container did not run and will not."""

    failure: Failure
    terminated: None = None


@dataclass(frozen=True, slots=True)
class PodLost:
    """The Pod is gone, with its log and the container's exit code, and nobody observed how it ended."""

    failure: Failure
    """The failure to report, unless the run log on the shared volume still holds a result."""
    terminated: None = None


@dataclass(frozen=True, slots=True)
class Untrackable:
    """The end could not be observed. The agent may still work, so nothing may be deleted."""

    why: str
    terminated: Terminated | None = None


Ending: TypeAlias = (
    Exited
    | Disrupted
    | JobGone
    | DeadlinePassed
    | Stopped
    | OverBudget
    | StoppedAfterResult
    | NotStarted
    | PodLost
    | Untrackable
)


def is_cancelled(host_status: object) -> bool:
    """Whether the status of a run in the host's API means that the run must be stopped.

    Any other status may be stale or transient, and stopping the agent would lose paid work.
    """
    return host_status in ("cancelled", "cancelling")


def agent_end(pod: PodSnapshot | None) -> Terminated | None:
    """How the agent's container terminated; None if it has not."""
    return _end_of(pod.agent if pod is not None else None)


def container_end(pod: PodSnapshot | None, name: str) -> Terminated | None:
    """How the container or init container of this name terminated; None if it has not, or does not exist."""
    return _end_of(pod.container(name) if pod is not None else None)


def _end_of(container: ContainerSnapshot | None) -> Terminated | None:
    return container.state if container is not None and isinstance(container.state, Terminated) else None


def agent_seconds(pod: PodSnapshot | None, now: datetime) -> float:
    """Seconds that the agent's container has run, from the node's start time to our clock; 0 if unknown."""
    agent = pod.agent if pod is not None else None
    if agent is None or not isinstance(agent.state, Running) or agent.state.started is None:
        return 0.0
    return max((now - agent.state.started).total_seconds(), 0.0)


def canceller(known: Known) -> str:
    """Who cancelled the run by `claude-k8s cancel`, as noted on its Job; "" if nobody did."""
    noted = known.job.annotations.get(CANCELLED_ANNOTATION, "") if known.job is not None else ""
    return neutral(" ".join(noted.split()))[:MAX_CANCELLER_CHARS]


def judge_ending(known: Known) -> Ending | None:
    """The ending, if one is certain by now; None while the agent may still work."""
    terminated = agent_end(known.pod)
    if terminated is None and not _pod_is_over(known):
        return None
    name = known.pod.name if known.pod is not None else ""
    named = named_disruption(known.pod) if known.pod is not None else None
    if named is not None:
        return Disrupted(name, named.reason, named.details, terminated)
    # The deletion of the Pod is judged last: a deadline, and the deletion of the Job, delete the Pod too.
    if _deadline_exceeded(known):
        return DeadlinePassed(terminated)
    if known.job_gone or (known.job is not None and known.job.deleting):
        return JobGone(known.seen_by, terminated, canceller(known))
    cause = disruption(known)
    if cause is not None:
        return Disrupted(name, cause.reason, cause.details, terminated, named=False)
    return _unexplained_ending(name, known.pod, terminated)


def _unexplained_ending(
    pod: str, snapshot: PodSnapshot | None, terminated: Terminated | None
) -> Exited | Disrupted | NotStarted:
    """The ending if neither the Pod's status nor the Job's explains it: the container's status decides."""
    if terminated is None:
        return Disrupted(pod, "PodFailed", _pod_message(snapshot))
    lost = lost_container(terminated)
    if lost is not None:
        return Disrupted(pod, lost.reason, lost.details, terminated, named=False)
    if not terminated.never_ran:
        return Exited(terminated)
    why, retryable = start_error(terminated)
    return NotStarted(failures.pod_schedule_failed(why, retryable=retryable))


def _pod_is_over(known: Known) -> bool:
    """Whether no container can write any more: the Pod is gone, or has a final phase."""
    if known.pod_gone or (known.job_gone and known.pod is None):
        return True
    return known.pod is not None and known.pod.phase in {"Failed", "Succeeded"}


def end_without_pod(
    job: str, finished: Condition, *, adopted: bool, only_pod: str = ""
) -> DeadlinePassed | PodLost | NotStarted:
    """The ending of a finished Job without a Pod, according to the Job's condition `finished`.

    `only_pod`: the Pod that an earlier host process noted on the Job as the only one that may run the agent.
    """
    if finished.reason == DEADLINE_EXCEEDED:
        return DeadlinePassed()
    condition = ": ".join(part for part in (finished.type, finished.reason, finished.message) if part)
    if only_pod:
        return only_pod_lost(only_pod, condition)
    if adopted:
        why = f"Job {job} has finished ({condition}) and its Pod is gone, with its log and its result"
        return PodLost(failures.pod_reattach_failed(why))
    if finished.reason == BACKOFF_LIMIT_EXCEEDED:  # the limit counts failed Pods, so there was a Pod
        return PodLost(failures.pod_disrupted(pod="", reason="PodDeleted", details=condition, started=None))
    if finished.type == "Failed":
        why = f"the Job failed before it had a Pod: {finished.reason}: {finished.message}"
        return NotStarted(failures.pod_schedule_failed(why, retryable=False))
    # the Job is complete, so its Pod succeeded and was deleted afterwards
    return PodLost(failures.pod_disrupted(pod="", reason="PodDeleted", details=condition, started=True))


def only_pod_lost(pod: str, details: str) -> PodLost:
    """The only Pod that may run the agent, as noted on the Job, is gone, and no host process saw its end."""
    return PodLost(failures.pod_disrupted(pod, "PodDeleted", details, started=None))


def _deadline_exceeded(known: Known) -> bool:
    finished: Condition | None = known.job.finished if known.job is not None else None
    by_pod = known.pod is not None and known.pod.reason == DEADLINE_EXCEEDED
    return by_pod or (finished is not None and finished.reason == DEADLINE_EXCEEDED)


def _pod_message(pod: PodSnapshot | None) -> str:
    if pod is None:
        return ""
    return pod.message or f"phase={pod.phase}"
