"""Can the agent's log be read yet, must the run wait, or will the agent never start?

`judge_start` decides from the last known state of Job and Pod, and from the messages in `Obstacles`. While
it returns `StillWaiting`, one of four time budgets runs: for scheduling; for pulling images and mounting
volumes; for an image that the registry does not have; for starting. Each has a setting of its own, so a slow
registry does not use up the time that a full cluster may take. A permanent cause ends the wait at once: a Pod
that admission refuses, an invalid image name, a failed init container, a Pod that was taken away. What
Kubernetes retries by itself (image pulls, a missing Secret) only uses up its budget.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

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
from paperclip_claude_k8s.relay.git import CLONE_CONTAINER
from paperclip_claude_k8s.relay.upload_scripts import SKILLS_CONTAINER, UNPACK_CONTAINER
from paperclip_claude_k8s.verdict.disruption import (
    DEADLINE_EXCEEDED,
    JOB_SUSPENDED,
    POD_RELEASED,
    Disruption,
    disruption,
    is_released,
    named_disruption,
)
from paperclip_claude_k8s.verdict.not_executable import missing_command, missing_program, start_error
from paperclip_claude_k8s.verdict.obstacles import (
    NO_OBSTACLES,
    PULL_TROUBLE,
    Obstacles,
    claim_is_missing,
    explain_volume,
    image_is_missing,
    refusal_is_final,
    refused_user,
    volume_source_is_missing,
)

BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
"""Reason in the condition of a Job that failed because its Pod failed."""

HOPELESS_WAITS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Reasons that are permanent: an invalid image name, or a missing image with `imagePullPolicy: Never`."""

CONFIG_TROUBLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Reasons after which the kubelet tries again: a missing Secret or key may appear within the start budget."""


class StartBudget(StrEnum):
    """Which time budget runs. The value is the name of its setting; `NONE`: no budget runs."""

    SCHEDULE = "scheduleTimeoutSec"
    PULL = "imagePullTimeoutSec"
    MISSING_IMAGE = "missingImageTimeoutSec"
    START = "startTimeoutSec"
    NONE = "none"


_INIT_WORK = {
    CLONE_CONTAINER: "the repository is being cloned",
    UNPACK_CONTAINER: "the workspace is being unpacked",
    SKILLS_CONTAINER: "the skills are being unpacked",
}
_OTHER_WORK = "an init container is running"


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """The agent has not started yet. `why` is one short clause for the log."""

    budget: StartBudget
    why: str
    lost_if_spent: "LostBeforeStart | None" = None
    """The verdict when the budget is spent; None: the Pod is late, but not lost."""


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The agent's container runs or has run, so its log can be read."""

    pod: PodSnapshot


@dataclass(frozen=True, slots=True)
class NeverStarts:
    """The agent will never start in this Pod. `retryable`: another Pod may start later or elsewhere."""

    why: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class LostBeforeStart:
    """The Pod was taken away, or its node refused it, before the agent was seen to start.

    `never_starts`: the agent's container can no longer be created. If False, `never_began` may prove that.
    """

    pod: str
    reason: str
    details: str
    never_starts: bool = False


@dataclass(frozen=True, slots=True)
class FinishedWithoutPod:
    """The Job has finished and no known Pod explains how. The caller has to read the Pods directly."""

    job: str
    condition: Condition


StartVerdict: TypeAlias = StillWaiting | AgentStarted | NeverStarts | LostBeforeStart | FinishedWithoutPod


def judge_start(known: Known, obstacles: Obstacles = NO_OBSTACLES) -> StartVerdict:
    """Decide from the last known state of Job and Pod, and from the obstacles observed until now."""
    job, pod = known.job, known.pod
    if pod is None:
        return _verdict_without_pod(job, obstacles)
    if known.agent_began:
        return AgentStarted(pod)
    return _verdict_if_suspended_again(known) or _verdict_before_start(known, pod, obstacles)


def _verdict_before_start(known: Known, pod: PodSnapshot, obstacles: Obstacles) -> StartVerdict:
    # What is certain comes first: a Pod that is gone, then one with a final phase. A finished Job proves
    # nothing while its Pod is not final, because one of the two snapshots may be older than the other.
    if known.pod_gone:
        return _verdict_if_gone(known, pod)
    if pod.agent is not None and isinstance(pod.agent.state, Terminated):  # it began, or could not be started
        return _loss_from_outside(known, pod) or NeverStarts(*start_error(pod.agent.state))
    if pod.is_over:
        return _verdict_if_over(known, pod)
    job = known.job
    if job is not None and job.finished is not None:
        return FinishedWithoutPod(job.ref.name, job.finished)
    if is_released(known) and not pod.deleting:
        return _verdict_if_released(pod)
    return _init_trouble(known, pod, obstacles) or _verdict_while_starting(pod, pod.agent, obstacles)


def _verdict_if_released(pod: PodSnapshot) -> StartVerdict:
    """The verdict on a Pod that the Job controller released; its run Secret was deleted.

    The agent can only start if the kubelet was already creating its container, so the kubelet's report
    decides.
    """
    lost = LostBeforeStart(pod.name, POD_RELEASED.reason, POD_RELEASED.details)
    if _waits_because(pod, CONFIG_TROUBLE):
        return replace(lost, never_starts=True)
    return StillWaiting(StartBudget.START, "the Job controller released the Pod", lost_if_spent=lost)


def _waits_because(pod: PodSnapshot, reasons: frozenset[str]) -> bool:
    """Whether the agent's container is waiting for one of these reasons."""
    agent = pod.agent
    return agent is not None and isinstance(agent.state, Waiting) and agent.state.reason in reasons


def _verdict_without_pod(job: JobSnapshot | None, obstacles: Obstacles) -> StartVerdict:
    if job is not None and job.finished is not None:
        return FinishedWithoutPod(job.ref.name, job.finished)
    if job is not None and job.suspended and job.queued:
        return StillWaiting(StartBudget.NONE, "the Job is suspended; its queue will admit it")
    if job is not None and job.suspended:
        return StillWaiting(StartBudget.SCHEDULE, "the Job is suspended and has no queue that would admit it")
    if refusal_is_final(obstacles.refusal):
        return NeverStarts(f"the cluster does not accept the Pod: {obstacles.refusal}")
    if obstacles.refusal:
        return StillWaiting(StartBudget.SCHEDULE, f"no Pod could be created so far: {obstacles.refusal}")
    return StillWaiting(StartBudget.SCHEDULE, "waiting for the Job controller to create the Pod")


def _verdict_if_gone(known: Known, pod: PodSnapshot) -> StartVerdict:
    """The verdict on a Pod that is gone, and whose agent was never seen to start."""
    job = known.job
    if job is not None and job.finished is not None and job.finished.reason == DEADLINE_EXCEEDED:
        return FinishedWithoutPod(job.ref.name, job.finished)
    cause = _cause(known)
    return LostBeforeStart(pod.name, *((cause.reason, cause.details) if cause else ("PodDeleted", "")))


def _cause(known: Known) -> Disruption | None:
    """Why the Pod was taken away. If the Pod's status names no reason, a suspended Job is the reason."""
    cause = disruption(known)
    suspended = known.job is not None and known.job.suspended
    return JOB_SUSPENDED if cause is not None and not cause.named and suspended else cause


def _verdict_if_suspended_again(known: Known) -> StillWaiting | None:
    """Wait if a queue suspended the Job again: until its old Pod is gone, then until the queue admits it."""
    if not queue_took_back(known):
        return None
    if not known.pod_gone:
        return StillWaiting(StartBudget.START, "the Pod is being deleted")
    if known.job is None or not known.job.suspended or not never_began(known):
        return None
    return StillWaiting(StartBudget.NONE, "the Job is suspended; its queue will admit it again")


def queue_took_back(known: Known) -> bool:
    """Whether a queue suspended the Job, so that its Pod was deleted. It may have admitted the Job again."""
    job, pod = known.job, known.pod
    if job is None or pod is None or not job.queued or job.finished is not None or known.job_gone:
        return False
    return (known.pod_gone or pod.deleting) and (job.suspended or known.stopped_by_job == "suspended")


def _verdict_if_over(known: Known, pod: PodSnapshot) -> StartVerdict:
    """The verdict on a Pod that ended before its agent started, for example because its init failed."""
    # First comes the loss of the Pod: init containers that are killed with it also exit with an error.
    lost = _loss_from_outside(known, pod)
    if lost is not None:
        return lost
    broken = next((c for c in pod.init_containers if not c.sidecar and _failed(c)), None)
    if broken is not None:
        return NeverStarts(_init_end_text(broken))
    sidecars = [_init_end_text(c) for c in pod.init_containers if _failed(c)]
    return LostBeforeStart(pod.name, f"phase={pod.phase}", "; ".join(filter(None, (pod.message, *sidecars))))


def _loss_from_outside(known: Known, pod: PodSnapshot) -> LostBeforeStart | None:
    """Why the Pod was ended from outside; if it was, the exit codes of its containers explain nothing.

    A Pod has a `reason` of its own only if its node ended or refused it as a whole.
    """
    named = named_disruption(pod)
    if named is not None:
        return LostBeforeStart(pod.name, named.reason, named.details)
    cause = _cause(known)
    if pod.reason or cause is None:
        return LostBeforeStart(pod.name, pod.reason, pod.message) if pod.reason else None
    return LostBeforeStart(pod.name, cause.reason, pod.message or cause.details)


def _init_trouble(known: Known, pod: PodSnapshot, obstacles: Obstacles) -> StartVerdict | None:
    """What keeps an init container from ending. A final failure takes precedence over a wait."""
    found = [_trouble_of(container, known, pod, obstacles) for container in pod.init_containers]
    troubles = [trouble for trouble in found if trouble is not None]
    final = [trouble for trouble in troubles if not isinstance(trouble, StillWaiting)]
    return next(iter([*final, *troubles]), None)


def _trouble_of(
    container: ContainerSnapshot, known: Known, pod: PodSnapshot, obstacles: Obstacles
) -> StartVerdict | None:
    """What keeps this init container from ending or, if it is a sidecar, from running.

    A failed init container is final (`restartPolicy: Never`), but the kubelet restarts a sidecar, unless the
    image lacks its program.
    """
    if isinstance(container.state, Waiting):
        return _verdict_if_waiting(container, container.state, obstacles)
    if container.sidecar and isinstance(container.state, Terminated):
        if missing_program(container.state):  # no restart changes the image
            return NeverStarts(_init_end_text(container))
        return StillWaiting(StartBudget.START, f"{_init_end_text(container)}; the kubelet restarts it")
    if not _failed(container):
        return None
    return _loss_from_outside(known, pod) or NeverStarts(_init_end_text(container))


def _verdict_if_waiting(
    container: ContainerSnapshot, waiting: Waiting, obstacles: Obstacles
) -> StartVerdict | None:
    if waiting.reason == "CrashLoopBackOff":
        ended = f"; it ended with {_end_text(container.last)}" if container.last is not None else ""
        why = f"{_kind_and_name(container)} crash loop: {waiting.message or waiting.reason}{ended}"
        hopeless = container.last is not None and missing_program(container.last)
        if container.sidecar and not hopeless:
            return StillWaiting(StartBudget.START, why)
        return NeverStarts(why)
    if waiting.reason in CONFIG_TROUBLE:
        return _verdict_if_not_created(_kind_and_name(container), waiting)
    return _image_verdict(container, waiting, obstacles)


def _verdict_if_not_created(subject: str, waiting: Waiting) -> StartVerdict:
    """The kubelet could not create a container, and tries again, which cannot help if its image is wrong."""
    wrong = missing_command(waiting.message) or refused_user(waiting.message)
    if wrong:
        return NeverStarts(f"{subject} cannot be created ({waiting.reason}): {waiting.message}; {wrong}")
    return StillWaiting(
        StartBudget.START, f"{subject} cannot be created yet ({waiting.reason}): {waiting.message}"
    )


def _kind_and_name(container: ContainerSnapshot) -> str:
    return f'{"Sidecar" if container.sidecar else "Init container"} "{container.name}"'


def _failed(container: ContainerSnapshot) -> bool:
    return isinstance(container.state, Terminated) and container.state.exit_code not in {None, 0}


def _init_end_text(container: ContainerSnapshot) -> str:
    """How the init container ended, in one line: exit code, reason and termination message."""
    if not isinstance(container.state, Terminated):
        return f"{_kind_and_name(container)} has not ended"
    how = "failed" if container.state.exit_code else "ended"
    return f"{_kind_and_name(container)} {how} with {_end_text(container.state)}"


def _end_text(end: Terminated) -> str:
    why = ": ".join(filter(None, (end.reason, " ".join(end.message.split())))) or "unknown"
    return f"exit code {end.exit_code}: {why}"


def _image_verdict(
    container: ContainerSnapshot, waiting: Waiting, obstacles: Obstacles
) -> StartVerdict | None:
    details = waiting.message or waiting.reason
    if waiting.reason == "ImagePullBackOff" and obstacles.pull not in details:
        details = f"{details}: {obstacles.pull}"  # the state itself only says that the kubelet pauses
    text = f'Image pull failed for "{container.name}" ({waiting.reason}): {details}'
    if waiting.reason in HOPELESS_WAITS:
        return NeverStarts(text)
    if waiting.reason in PULL_TROUBLE:
        missing = image_is_missing(details)
        return StillWaiting(StartBudget.MISSING_IMAGE if missing else StartBudget.PULL, text)
    return None


def _verdict_while_starting(
    pod: PodSnapshot, agent: ContainerSnapshot | None, obstacles: Obstacles
) -> StartVerdict:
    if pod.deleting:
        return StillWaiting(StartBudget.START, "the Pod is being deleted")
    scheduled = pod.condition("PodScheduled")
    if not pod.node and not (scheduled and scheduled.is_true):
        why = _why_unscheduled(pod)
        return NeverStarts(why) if claim_is_missing(why) else StillWaiting(StartBudget.SCHEDULE, why)
    waiting = agent.state if agent is not None and isinstance(agent.state, Waiting) else Waiting()
    image = _image_verdict(agent, waiting, obstacles) if agent is not None else None
    return image or _verdict_on_the_node(pod, waiting, obstacles)


def _verdict_on_the_node(pod: PodSnapshot, waiting: Waiting, obstacles: Obstacles) -> StartVerdict:
    """What a scheduled Pod without an image error waits for. `waiting`: state of the agent's container."""
    if waiting.reason in CONFIG_TROUBLE:
        return _verdict_if_not_created("the container", waiting)
    if any(isinstance(c.state, Running) and not c.sidecar for c in pod.init_containers):
        names = [c.name for c in pod.init_containers if isinstance(c.state, Running) and not c.sidecar]
        work = _INIT_WORK.get(names[0], _OTHER_WORK) if len(names) == 1 else _OTHER_WORK
        return StillWaiting(StartBudget.START, work)
    if volume_source_is_missing(obstacles.mount):
        return StillWaiting(StartBudget.START, f"a volume cannot be mounted yet: {obstacles.mount}")
    if obstacles.pull:  # a busy kubelet reports the state of the container later than its Events
        missing = image_is_missing(obstacles.pull)
        return StillWaiting(StartBudget.MISSING_IMAGE if missing else StartBudget.PULL, obstacles.pull)
    why = f"mounting volumes and pulling the image ({waiting.reason or 'no report yet'})"
    if explain_volume(obstacles.mount):
        why = f"a volume is not mounted yet: {_explained(obstacles.mount)}"
    return StillWaiting(StartBudget.PULL, why)


def _explained(message: str) -> str:
    meaning = explain_volume(message)
    return f"{message} ({meaning})" if meaning else message


def _why_unscheduled(pod: PodSnapshot) -> str:
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.reason:
        so_far = "no node so far" if scheduled.reason == "Unschedulable" else scheduled.reason
        return f"{so_far}: {_explained(scheduled.message)}"
    return "waiting for the scheduler"


def never_began(known: Known) -> bool:
    """Whether it is proven that the Pod's agent container did not start and never will.

    There are three proofs:

    - the kubelet reported a final phase, and no start of the agent's container;
    - the Pod was gone before it had a node;
    - the Pod is gone, and in its last state the agent's container lacked its image, its configuration, or an
      init container that must end first.

    A missing Pod alone proves nothing: kubelets before 1.27 remove a Pod that is deleted while it starts
    without reporting what its containers did. A state that may not be the Pod's last proves nothing either,
    and a phase counts only if the kubelet set it. If the Job is complete, an agent did start.
    """
    pod, finished = known.pod, known.job.finished if known.job is not None else None
    if pod is None or known.agent_began or (finished is not None and finished.type == "Complete"):
        return False
    last_state_known = known.pod_gone and known.pod_is_final
    if last_state_known and not pod.node:
        return True
    return not _node_lost(pod) and (pod.is_over or (last_state_known and _cannot_begin(pod)))


def _node_lost(pod: PodSnapshot) -> bool:
    """Whether the node is lost. Then the Pod garbage collector set the final phase, not the kubelet."""
    target = pod.condition("DisruptionTarget")
    return target is not None and target.is_true and target.reason == "DeletionByPodGC"


def _cannot_begin(pod: PodSnapshot) -> bool:
    waits = _waits_because(pod, HOPELESS_WAITS | PULL_TROUBLE | CONFIG_TROUBLE)
    return waits or any(not c.sidecar and not _succeeded(c) for c in pod.init_containers)


def _succeeded(container: ContainerSnapshot) -> bool:
    return isinstance(container.state, Terminated) and container.state.exit_code == 0
