"""Has the run ended, and how? Only a positive observation ends a run (PEERS W11, E2)."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.model import Condition, JobSnapshot, Known, PodSnapshot, Running, Terminated
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.disruption import disruption, named_disruption
from paperclip_claude_k8s.verdict.start import DEADLINE_EXCEEDED


@dataclass(frozen=True, slots=True)
class Exited:
    """The agent's container terminated."""

    terminated: Terminated


@dataclass(frozen=True, slots=True)
class Disrupted:
    """Eviction, preemption, node loss: the Pod was taken away. `how` where its end was still seen.

    `named`: the Pod's own status names the reason; else it was concluded, and Events may say more.
    """

    pod: str
    reason: str
    words: str
    terminated: Terminated | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class JobGone:
    """Somebody deleted the Job. `seen_by` names the observation; `how` where the container's end was seen."""

    seen_by: str
    terminated: Terminated | None = None


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time limit is over: ours (`timeoutSec`), or Kubernetes' backstop."""

    terminated: Terminated | None = None


class StopReason(Enum):
    """Why we end an agent ourselves; the value opens the line that says so."""

    CANCEL = "Run cancelled"
    DEADLINE = "Time limit reached"
    NO_EXIT = "Claude printed its result and did not exit"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The host cancelled the run. `proven`: the Pod was positively seen to be gone."""

    order: StopReason
    proven: bool
    terminated: Terminated | None = None


@dataclass(frozen=True, slots=True)
class StoppedAfterResult:
    """The agent printed its final result and did not exit for `grace` seconds: we stopped it."""

    grace: float
    terminated: Terminated | None = None


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The agent's container never ran, and will not."""

    failure: Failure
    terminated: None = None


@dataclass(frozen=True, slots=True)
class PodLost:
    """The Job finished and its Pod is gone, and with it the log and how the container ended."""

    failure: Failure
    """What it is without a result; the run log on the shared volume may still hold one."""
    terminated: None = None


@dataclass(frozen=True, slots=True)
class Untrackable:
    """Nothing could be established; nothing may be tidied."""

    why: str
    terminated: Terminated | None = None


Ending: TypeAlias = (
    Exited
    | Disrupted
    | JobGone
    | DeadlinePassed
    | Stopped
    | StoppedAfterResult
    | NotStarted
    | PodLost
    | Untrackable
)


def agent_end(pod: PodSnapshot | None) -> Terminated | None:
    agent = pod.agent if pod is not None else None
    return agent.now if agent is not None and isinstance(agent.now, Terminated) else None


def agent_seconds(pod: PodSnapshot | None, now: datetime) -> float:
    """How long the agent's container has run, by the node's clock and ours; 0 where that is not known."""
    agent = pod.agent if pod is not None else None
    if agent is None or not isinstance(agent.now, Running) or agent.now.started is None:
        return 0.0
    return max((now - agent.now.started).total_seconds(), 0.0)


def judge_ending(known: Known) -> Ending | None:
    """The ending that is established by now, or None while the agent may still work."""
    how = agent_end(known.pod)
    if how is None and not _pod_is_over(known):
        return None
    name = known.pod.name if known.pod is not None else "(never seen)"
    named = named_disruption(known.pod) if known.pod is not None else None
    if named is not None:
        return Disrupted(name, named.reason, named.words, how)
    # a deadline and a deleted Job delete the Pod as well, so that its deletion alone tells the least
    if _deadline_exceeded(known.job):
        return DeadlinePassed(how)
    if known.job_gone or (known.job is not None and known.job.deleting):
        return JobGone(known.seen_by, how)
    taken = disruption(known)
    if taken is not None:
        return Disrupted(name, taken.reason, taken.words, how, named=False)
    return Exited(how) if how is not None else Disrupted(name, "PodFailed", _pod_words(known.pod))


def _pod_is_over(known: Known) -> bool:
    """No container will write any more: the Pod is gone, or ended without a report of its container."""
    if known.pod_gone or (known.job_gone and known.pod is None):
        return True
    return known.pod is not None and known.pod.phase in {"Failed", "Succeeded"}


def end_without_pod(
    job: str, finished: Condition, *, adopted: bool, only_pod: str = ""
) -> DeadlinePassed | PodLost | NotStarted:
    """What a finished Job's condition says where its Pod, and with it every other witness, is gone.

    `only_pod`: the Pod that an earlier host saw being taken away, as the Job says.
    """
    if finished.reason == DEADLINE_EXCEEDED:
        return DeadlinePassed()
    words = ": ".join(part for part in (finished.type, finished.reason, finished.message) if part)
    if only_pod:
        return only_pod_lost(only_pod, words)
    if adopted:
        why = f"Job {job} has finished ({words}) and its Pod is gone, with its log and its result"
        return PodLost(failures.pod_reattach_failed(why))
    if finished.type == "Failed":
        why = f"the Job failed before it had a Pod: {finished.reason}: {finished.message}"
        return NotStarted(failures.pod_schedule_failed(why, retryable=False))
    return PodLost(failures.pod_disrupted("(never seen)", "PodDeleted", words, started=True))


def only_pod_lost(pod: str, words: str) -> PodLost:
    """The Pod that alone might run the agent, as the Job says, is gone, and nobody saw how."""
    return PodLost(failures.pod_disrupted(pod, "PodDeleted", words, started=None))


def _deadline_exceeded(job: JobSnapshot | None) -> bool:
    finished: Condition | None = job.finished if job is not None else None
    return finished is not None and finished.reason == DEADLINE_EXCEEDED


def _pod_words(pod: PodSnapshot | None) -> str:
    if pod is None:
        return ""
    return pod.message or f"phase={pod.phase}"
