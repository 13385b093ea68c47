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
from paperclip_claude_k8s.verdict.disruption import disruption, named_disruption

DEADLINE_EXCEEDED = "DeadlineExceeded"
"""Reason of a Job that outlived `activeDeadlineSeconds`; its controller deletes the Pod as well."""

HOPELESS_WAITS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""No time heals these: a name that cannot be one, an image that must be there and is not."""

PULL_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
"""Registries come back, so these may heal inside the pull budget."""

CONFIG_TROUBLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""A missing Secret or key is retried by the kubelet; inside the start budget it may appear."""


class Budget(StrEnum):
    """Which of the three clocks runs; the value is the setting that stretches it."""

    SCHEDULE = "scheduleTimeoutSec"
    PULL = "imagePullTimeoutSec"
    START = "startTimeoutSec"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet. `why` is one short clause; the same clause is said once."""

    budget: Budget
    why: str


@dataclass(frozen=True, slots=True)
class Listen:
    """The agent's container runs or has run: its log can be read."""

    pod: PodSnapshot


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It will never start. `heals` when the same wish may succeed later, elsewhere or by itself."""

    why: str
    heals: bool = False


@dataclass(frozen=True, slots=True)
class Preempted:
    """The Pod was taken away or refused by its node before the agent started."""

    pod: str
    reason: str
    words: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """The Job has finished and no Pod is known that tells how: to be looked for before it is believed."""

    job: str
    condition: Condition


StartVerdict: TypeAlias = Wait | Listen | GiveUp | Preempted | Unseen


def judge_start(known: Known) -> StartVerdict:
    """What the last that is known of Job and Pod says about listening."""
    job, pod = known.job, known.pod
    if pod is None:
        return _without_pod(job)
    if known.agent_began:
        return Listen(pod)
    if known.pod_gone:
        return _gone(known, pod)
    if pod.is_over:
        return _never_started(pod)
    if job is not None and job.finished is not None:
        return Unseen(job.ref.name, job.finished)
    return _init_trouble(pod) or _not_running_yet(pod, pod.container(AGENT_CONTAINER))


def _without_pod(job: JobSnapshot | None) -> StartVerdict:
    if job is not None and job.suspended:
        return Wait(Budget.NONE, "the Job is suspended; its queue will admit it")
    if job is not None and job.finished is not None:
        return Unseen(job.ref.name, job.finished)
    return Wait(Budget.SCHEDULE, "waiting for the Job controller to create the Pod")


def _gone(known: Known, pod: PodSnapshot) -> StartVerdict:
    """A Pod that went before its agent was seen to begin."""
    job = known.job
    if job is not None and job.suspended:
        return Wait(Budget.NONE, "the Job is suspended; its queue will admit it again")
    if job is not None and job.finished is not None and job.finished.reason == DEADLINE_EXCEEDED:
        return Unseen(job.ref.name, job.finished)
    taken = disruption(known)
    return Preempted(pod.name, *((taken.reason, taken.words) if taken else ("PodDeleted", "")))


def _never_started(pod: PodSnapshot) -> StartVerdict:
    """A Pod that ended without its agent container: init failed, evicted, or refused by the node."""
    broken = next((c for c in pod.init if isinstance(c.now, Terminated) and c.now.exit_code), None)
    if broken is not None and isinstance(broken.now, Terminated):
        return GiveUp(_init_failed(broken, broken.now))
    named = named_disruption(pod)
    if named is not None:
        return Preempted(pod.name, named.reason, named.words)
    return Preempted(pod.name, pod.reason or f"phase={pod.phase}", pod.message)


def _init_trouble(pod: PodSnapshot) -> StartVerdict | None:
    for container in pod.init:
        if isinstance(container.now, Terminated) and container.now.exit_code:
            return GiveUp(_init_failed(container, container.now))
        if isinstance(container.now, Waiting) and container.now.reason == "CrashLoopBackOff":
            return GiveUp(f'Init container "{container.name}" crash loop: {container.now.message}')
        if isinstance(container.now, Waiting):
            hopeless = _image_verdict(container, container.now)
            if hopeless is not None:
                return hopeless
    return None


def _init_failed(container: ContainerSnapshot, end: Terminated) -> str:
    why = end.reason or end.message or "unknown"
    return f'Init container "{container.name}" failed with exit code {end.exit_code}: {why}'


def _image_verdict(container: ContainerSnapshot, waiting: Waiting) -> StartVerdict | None:
    words = waiting.message or waiting.reason
    text = f'Image pull failed for "{container.name}" ({waiting.reason}): {words}'
    if waiting.reason in HOPELESS_WAITS:
        return GiveUp(text)
    if waiting.reason in PULL_TROUBLE:
        return Wait(Budget.PULL, text)
    return None


def _not_running_yet(pod: PodSnapshot, agent: ContainerSnapshot | None) -> StartVerdict:
    if pod.deleting:
        return Wait(Budget.NONE, "the Pod is being deleted")
    scheduled = pod.condition("PodScheduled")
    if not pod.node and not (scheduled and scheduled.is_true):
        return Wait(Budget.SCHEDULE, _unscheduled(pod))
    waiting = agent.now if agent is not None and isinstance(agent.now, Waiting) else Waiting()
    if agent is not None:
        image = _image_verdict(agent, waiting)
        if image is not None:
            return image
    if waiting.reason in CONFIG_TROUBLE:
        return Wait(
            Budget.START, f"the container cannot be created yet ({waiting.reason}): {waiting.message}"
        )
    if any(isinstance(container.now, Running) and not container.sidecar for container in pod.init):
        return Wait(Budget.START, "an init container is running")
    return Wait(
        Budget.PULL, f"volumes are mounted and the image is pulled ({waiting.reason or 'no report yet'})"
    )


def _unscheduled(pod: PodSnapshot) -> str:
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.reason:
        return f"Pod unschedulable so far ({scheduled.reason}): {scheduled.message}"
    return "waiting for the scheduler"


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
