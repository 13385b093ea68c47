"""May we listen to this Pod yet, wait on, or give up? SPEC 4, PEERS b.3."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER
from paperclip_claude_k8s.cluster.model import (
    Condition,
    ContainerSnapshot,
    JobSnapshot,
    Known,
    PodSnapshot,
    Running,
    Terminated,
    Waiting,
)
from paperclip_claude_k8s.verdict.disruption import (
    JOB_SUSPENDED,
    POD_RELEASED,
    Disruption,
    disruption,
    is_released,
    named_disruption,
)

DEADLINE_EXCEEDED = "DeadlineExceeded"
"""Reason of a Job that outlived `activeDeadlineSeconds`; its controller deletes the Pod as well."""

HOPELESS_WAITS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""No time heals these: a name that cannot be one, an image that must be there and is not."""

PULL_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
"""Registries come back, so these may heal inside the pull budget."""

CONFIG_TROUBLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""A missing Secret or key is retried by the kubelet; inside the start budget it may appear."""


class StartBudget(StrEnum):
    """Which of the three clocks runs; the value is the setting that stretches it."""

    SCHEDULE = "scheduleTimeoutSec"
    PULL = "imagePullTimeoutSec"
    START = "startTimeoutSec"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """Not yet. `why` is one short clause; the same clause is said once."""

    budget: StartBudget
    why: str


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The agent's container runs or has run: its log can be read."""

    pod: PodSnapshot


@dataclass(frozen=True, slots=True)
class NeverStarts:
    """It will never start. `retryable` when the same wish may succeed later, elsewhere or by itself."""

    why: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class LostBeforeStart:
    """The Pod was taken away or refused by its node before the agent started.

    `never_starts`: its container cannot be created any more; else the Pod's own end says whether it began.
    """

    pod: str
    reason: str
    words: str
    never_starts: bool = False


@dataclass(frozen=True, slots=True)
class FinishedWithoutPod:
    """The Job has finished and no Pod is known that tells how: to be looked for before it is believed."""

    job: str
    condition: Condition


StartVerdict: TypeAlias = StillWaiting | AgentStarted | NeverStarts | LostBeforeStart | FinishedWithoutPod


def judge_start(known: Known) -> StartVerdict:
    """What the last that is known of Job and Pod says about listening."""
    job, pod = known.job, known.pod
    if pod is None:
        return _without_pod(job)
    if known.agent_began:
        return AgentStarted(pod)
    return _taken_back(known) or _not_begun(known, pod)


def _not_begun(known: Known, pod: PodSnapshot) -> StartVerdict:
    if known.pod_gone:
        return _gone(known, pod)
    if pod.is_over:
        return _never_started(known, pod)
    job = known.job
    if job is not None and job.finished is not None:
        return FinishedWithoutPod(job.ref.name, job.finished)
    if is_released(known) and not pod.deleting:
        return _released(pod)
    return _init_trouble(known, pod) or _not_running_yet(pod, pod.agent)


def _released(pod: PodSnapshot) -> StartVerdict:
    """Its container was perhaps about to be created when the run Secret was deleted; the kubelet tells."""
    if _lacks(pod, CONFIG_TROUBLE):
        return LostBeforeStart(pod.name, POD_RELEASED.reason, POD_RELEASED.words, never_starts=True)
    return StillWaiting(StartBudget.START, f"the Job controller released the Pod ({POD_RELEASED.words})")


def _lacks(pod: PodSnapshot, what: frozenset[str]) -> bool:
    """Whether the kubelet waits to create the agent's container for one of these reasons."""
    agent = pod.agent
    return agent is not None and isinstance(agent.now, Waiting) and agent.now.reason in what


def start_budget_spent(known: Known) -> LostBeforeStart | None:
    """A released Pod whose agent did not begin in time was disrupted; any other Pod is only late."""
    pod = known.pod
    if pod is None or not is_released(known):
        return None
    return LostBeforeStart(pod.name, POD_RELEASED.reason, POD_RELEASED.words)


def _without_pod(job: JobSnapshot | None) -> StartVerdict:
    if job is not None and job.finished is not None:
        return FinishedWithoutPod(job.ref.name, job.finished)
    if job is not None and job.suspended and job.queued:
        return StillWaiting(StartBudget.NONE, "the Job is suspended; its queue will admit it")
    if job is not None and job.suspended:
        return StillWaiting(
            StartBudget.SCHEDULE, "the Job is suspended, and it names no queue that would admit it"
        )
    return StillWaiting(StartBudget.SCHEDULE, "waiting for the Job controller to create the Pod")


def _gone(known: Known, pod: PodSnapshot) -> StartVerdict:
    """A Pod that went before its agent was seen to begin."""
    job = known.job
    if job is not None and job.finished is not None and job.finished.reason == DEADLINE_EXCEEDED:
        return FinishedWithoutPod(job.ref.name, job.finished)
    taken = _cause(known)
    return LostBeforeStart(pod.name, *((taken.reason, taken.words) if taken else ("PodDeleted", "")))


def _cause(known: Known) -> Disruption | None:
    """Who took away the Pod: where its status is silent, the Job's suspension, seen before or after it."""
    taken = disruption(known)
    suspended = known.job is not None and known.job.suspended
    return JOB_SUSPENDED if taken is not None and not taken.named and suspended else taken


def _taken_back(known: Known) -> StillWaiting | None:
    """A Job that its queue took back is waited for: until its old Pod has gone, and then for the queue."""
    if not queue_took_back(known):
        return None
    if not known.pod_gone:
        return StillWaiting(StartBudget.START, "the Pod is being deleted")
    if known.job is None or not known.job.suspended or not never_began(known):
        return None
    return StillWaiting(StartBudget.NONE, "the Job is suspended; its queue will admit it again")


def queue_took_back(known: Known) -> bool:
    """Whether a queue took the Job back, and its Pod with it; it may have admitted it again by now."""
    job, pod = known.job, known.pod
    if job is None or pod is None or not job.queued or job.finished is not None or known.job_gone:
        return False
    return (known.pod_gone or pod.deleting) and (job.suspended or known.stopped_by_job == "suspended")


def _never_started(known: Known, pod: PodSnapshot) -> StartVerdict:
    """A Pod that ended without its agent container: taken away, refused by its node, or its init failed."""
    taken = _taken_away(known, pod)
    if taken is not None:
        return taken
    broken = next((c for c in pod.init if not c.sidecar and _failed(c)), None)
    if broken is not None:
        return NeverStarts(_init_failed(broken))
    told = [_init_failed(c) for c in pod.init if _failed(c)]
    return LostBeforeStart(pod.name, f"phase={pod.phase}", "; ".join(filter(None, (pod.message, *told))))


def _taken_away(known: Known, pod: PodSnapshot) -> LostBeforeStart | None:
    """Who ended the Pod from outside; what its containers' exit codes say only follows from that.

    A Pod has a reason of its own only where its node ended or refused it as a whole.
    """
    named = named_disruption(pod)
    if named is not None:
        return LostBeforeStart(pod.name, named.reason, named.words)
    taken = _cause(known)
    if pod.reason or taken is None:
        return LostBeforeStart(pod.name, pod.reason, pod.message) if pod.reason else None
    return LostBeforeStart(pod.name, taken.reason, pod.message or taken.words)


def _init_trouble(known: Known, pod: PodSnapshot) -> StartVerdict | None:
    """What keeps the Pod from its agent; what is final goes before what may heal."""
    troubles = [trouble for c in pod.init if (trouble := _trouble_of(c, known, pod)) is not None]
    final = [trouble for trouble in troubles if not isinstance(trouble, StillWaiting)]
    return next(iter([*final, *troubles]), None)


def _trouble_of(container: ContainerSnapshot, known: Known, pod: PodSnapshot) -> StartVerdict | None:
    """An init container that failed has failed for good; a sidecar is started again by the kubelet."""
    if isinstance(container.now, Waiting):
        return _held_up(container, container.now)
    if container.sidecar and isinstance(container.now, Terminated):
        return StillWaiting(StartBudget.START, f"{_init_failed(container)}; the kubelet starts it again")
    return (_taken_away(known, pod) or NeverStarts(_init_failed(container))) if _failed(container) else None


def _held_up(container: ContainerSnapshot, waiting: Waiting) -> StartVerdict | None:
    if waiting.reason == "CrashLoopBackOff":
        ended = f"; it ended with {_end(container.last)}" if container.last is not None else ""
        words = f"{_kind(container)} crash loop: {waiting.message or waiting.reason}{ended}"
        return StillWaiting(StartBudget.START, words) if container.sidecar else NeverStarts(words)
    if waiting.reason in CONFIG_TROUBLE:
        words = f"{_kind(container)} cannot be created yet ({waiting.reason}): {waiting.message}"
        return StillWaiting(StartBudget.START, words)
    return _image_verdict(container, waiting)


def _kind(container: ContainerSnapshot) -> str:
    return f'{"Sidecar" if container.sidecar else "Init container"} "{container.name}"'


def _failed(container: ContainerSnapshot) -> bool:
    return isinstance(container.now, Terminated) and container.now.exit_code not in {None, 0}


def _init_failed(container: ContainerSnapshot) -> str:
    """How it ended, in one line: exit code, reason and its own last words."""
    if not isinstance(container.now, Terminated):
        return f"{_kind(container)} has not ended"
    how = "failed" if container.now.exit_code else "ended"
    return f"{_kind(container)} {how} with {_end(container.now)}"


def _end(end: Terminated) -> str:
    why = ": ".join(filter(None, (end.reason, " ".join(end.message.split())))) or "unknown"
    return f"exit code {end.exit_code}: {why}"


def _image_verdict(container: ContainerSnapshot, waiting: Waiting) -> StartVerdict | None:
    words = waiting.message or waiting.reason
    text = f'Image pull failed for "{container.name}" ({waiting.reason}): {words}'
    if waiting.reason in HOPELESS_WAITS:
        return NeverStarts(text)
    if waiting.reason in PULL_TROUBLE:
        return StillWaiting(StartBudget.PULL, text)
    return None


def _not_running_yet(pod: PodSnapshot, agent: ContainerSnapshot | None) -> StartVerdict:
    if pod.deleting:
        return StillWaiting(StartBudget.START, "the Pod is being deleted")
    scheduled = pod.condition("PodScheduled")
    if not pod.node and not (scheduled and scheduled.is_true):
        return StillWaiting(StartBudget.SCHEDULE, _unscheduled(pod))
    waiting = agent.now if agent is not None and isinstance(agent.now, Waiting) else Waiting()
    if agent is not None:
        image = _image_verdict(agent, waiting)
        if image is not None:
            return image
    if waiting.reason in CONFIG_TROUBLE:
        return StillWaiting(
            StartBudget.START, f"the container cannot be created yet ({waiting.reason}): {waiting.message}"
        )
    if any(isinstance(container.now, Running) and not container.sidecar for container in pod.init):
        return StillWaiting(StartBudget.START, "an init container is running")
    return StillWaiting(
        StartBudget.PULL, f"volumes are mounted and the image is pulled ({waiting.reason or 'no report yet'})"
    )


def _unscheduled(pod: PodSnapshot) -> str:
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.reason:
        return f"Pod unschedulable so far ({scheduled.reason}): {scheduled.message}"
    return "waiting for the scheduler"


def never_began(known: Known) -> bool:
    """Whether it is proven that the Pod's agent container did not start and never will.

    Proof is the kubelet's final phase, a Pod that had no node when it went, and a container that lacked its
    image, its configuration or an init container before it. That a Pod is gone proves nothing else: kubelets
    before 1.27 remove one that is deleted while it starts without a report of what its containers did. What
    it was at some time before it went proves nothing either, nor does a word that is not the kubelet's.
    """
    pod, finished = known.pod, known.job.finished if known.job is not None else None
    if pod is None or known.agent_began or (finished is not None and finished.type == "Complete"):
        return False
    went = known.pod_gone and known.pod_seen_last
    if went and not pod.node:
        return True
    return not _lost_its_kubelet(pod) and (pod.is_over or (went and _cannot_begin(pod)))


def _lost_its_kubelet(pod: PodSnapshot) -> bool:
    """Whether its node is lost, so that another than the kubelet set the phase it ended with."""
    target = pod.condition("DisruptionTarget")
    return target is not None and target.is_true and target.reason == "DeletionByPodGC"


def _cannot_begin(pod: PodSnapshot) -> bool:
    lacks = _lacks(pod, HOPELESS_WAITS | PULL_TROUBLE | CONFIG_TROUBLE)
    return lacks or any(not c.sidecar and not _succeeded(c) for c in pod.init)


def _succeeded(container: ContainerSnapshot) -> bool:
    return isinstance(container.now, Terminated) and container.now.exit_code == 0


def describe_pod(pod: PodSnapshot) -> str:
    """`Pod NAME: phase=P, init/x: done (exit 0), claude: waiting (R)` as the seeds word it."""
    details = [f"phase={pod.phase or 'Unknown'}"]
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and not scheduled.is_true and scheduled.reason:
        details.append(f"{scheduled.reason}: {scheduled.message}")
    details += [f"init/{container.name}: {_now(container)}" for container in pod.init if container.now]
    details += [f"{container.name}: {_now(container)}" for container in pod.containers if container.now]
    return f"Pod {pod.name}: {', '.join(details)}"


def _now(container: ContainerSnapshot) -> str:
    match container.now:
        case Waiting(reason, message):
            words = (
                f": {message}" if message and reason not in {"ContainerCreating", "PodInitializing"} else ""
            )
            return f"waiting ({reason or 'unknown'}{words})"
        case Running():
            return "running"
        case Terminated(exit_code, reason):
            done = exit_code == 0 and container.name != AGENT_CONTAINER
            return "done (exit 0)" if done else f"terminated (exit {exit_code}, {reason or 'no reason'})"
        case None:
            return "no report yet"
