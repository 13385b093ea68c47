"""What keeps a Pod from starting, and whether that may be temporary, read from messages of Kubernetes.

No field of the API says this. Why a Job has no Pod stands only in the Job's Events (`FailedCreate`). Why a
volume is not mounted stands in the Pod's Events (`FailedMount`). Why an image is not pulled stands in the
container's state, but only until the kubelet pauses before its next attempt. `Obstacles` remembers all three.
The tables below hold parts of messages of Kubernetes 1.20 to 1.37, of container runtimes, and of registries.
To add one, add a line here, and the whole message to `tests/verdict/obstacle_messages.toml`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from paperclip_claude_k8s.cluster.model import EventSnapshot, PodSnapshot, Waiting

PULL_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
"""Reasons of a container's state: the kubelet could not pull the image and tries again."""

_TEMPORARY_REFUSALS = (
    "exceeded quota",  # until other Pods end
    "status unknown for quota",  # the quota has just been created
    "retry after the token is automatically created",  # a new service account, before Kubernetes 1.24
    "not yet ready to handle request",  # the API server has just been started
    "failed calling webhook",  # the webhook does not answer
    "the object has been modified",  # two writers of a quota
)
"""Parts of the messages of API servers that refuse a Pod now and may accept the same Pod later."""

_FINAL_REFUSALS = (
    "is forbidden",  # Pod Security, LimitRange, a quota that needs limits, service account, RuntimeClass
    "denied the request",  # admission webhooks
    "denied request",  # ValidatingAdmissionPolicy
    "is invalid",
    "no PriorityClass with name",
    "being terminated",  # the namespace
)
"""Parts of the messages of API servers that refuse this Pod whenever it is created."""

_IMAGE_MISSING = (
    ": not found",  # containerd
    "manifest unknown",
    "name unknown",
    "repository name not known",
    "manifest for .* not found",  # Docker
    "repository .* not found",
    "pull access denied",
    "requested access to the resource is denied",
    "insufficient_scope",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    r"\b40[13] (?:unauthorized|forbidden)",
    "no match for platform",  # the image exists, but not for the node's processor
    "no matching manifest",
)
"""Patterns in messages of image pulls: the registry's own answer, which another attempt does not change."""
_IMAGE_MISSING_PATTERN = re.compile("|".join(_IMAGE_MISSING), re.IGNORECASE)

_SOURCE_MISSING = re.compile(
    r'(?:secret|configmap) "[^"]*" not found|references non-existent (?:secret|config) key'
)
"""A volume's Secret, ConfigMap, or a key in it does not exist."""

_CLAIM_MISSING = re.compile(r'persistentvolumeclaim "[^"]*" not found')

_VOLUME_MEANINGS = {
    "pod affinity rules": "its ReadWriteOnce session volume is in use on a node without room for it",
    "volume node affinity conflict": "its volume is on another node, or in another zone, than it may use",
    "unbound immediate PersistentVolumeClaims": "no volume was made for its claim: check the storage class",
    "available persistent volumes to bind": "no volume fits its claim: check the storage class",
    "unbound PersistentVolumeClaim": "no volume was made for its claim: check the storage class",
    "Multi-Attach error": "its ReadWriteOnce volume is still attached to another node, where a Pod uses it",
}
"""Part of a message of scheduler, controller or kubelet about volumes → what it means."""

_USER_REFUSED = re.compile(
    "runAsNonRoot and image (?:will run as root|has non-numeric user)|breaks non-root policy"
)
"""A kubelet's message: a container must not run as root, but its user is root, or is not a number."""

_MOUNT_TROUBLE = frozenset({"FailedMount", "FailedAttachVolume"})


@dataclass(frozen=True, slots=True)
class Obstacles:
    """The latest message of each kind of obstacle; "" if there is none or it has passed."""

    refusal: str = ""
    """Why the Job controller could not create the Pod."""
    mount: str = ""
    """Why a volume could not be mounted."""
    pull: str = ""
    """Why an image could not be pulled."""

    def with_events(self, events: Sequence[EventSnapshot]) -> "Obstacles":
        """A copy with what these Events of the Job or Pod say. They are in order, oldest first."""
        found = self
        for event in events:
            if event.reason == "FailedCreate":
                found = replace(found, refusal=event.message)
            elif event.reason in _MOUNT_TROUBLE:
                found = replace(found, mount=event.message)
            elif event.reason == "Pulling":  # the volumes are mounted
                found = replace(found, mount="")
            elif event.reason == "Pulled":
                found = replace(found, mount="", pull="")
            elif event.reason == "Failed" and "pull image" in event.message:
                found = replace(found, pull=event.message)
        return found

    def with_pod(self, pod: PodSnapshot | None) -> "Obstacles":
        """A copy with what the states of the Pod's containers say. A Pod that exists was not refused."""
        if pod is None:
            return self
        states = [c.state for c in (*pod.init_containers, *pod.containers)]
        errors = [s.message for s in states if isinstance(s, Waiting) and s.reason == "ErrImagePull"]
        return replace(self, refusal="", pull=next(filter(None, errors), self.pull))


NO_OBSTACLES = Obstacles()


def refusal_is_final(message: str) -> bool:
    """Whether an API server that refused a Pod with this message will refuse it again."""
    if any(text in message for text in _TEMPORARY_REFUSALS):
        return False
    return any(text in message for text in _FINAL_REFUSALS)


def image_is_missing(message: str) -> bool:
    """Whether a registry answered that it does not have the image, or not for this account."""
    return _IMAGE_MISSING_PATTERN.search(message) is not None


def volume_source_is_missing(message: str) -> bool:
    """Whether a volume cannot be mounted because its Secret or ConfigMap, or a key in it, does not exist."""
    return _SOURCE_MISSING.search(message) is not None


def refused_user(message: str) -> str:
    """The next step if a kubelet refuses a container that might run as root; "" for any other message."""
    if _USER_REFUSED.search(message) is None:
        return ""
    return "set `runAsUser`, or give the image a user that is a number and not 0"


def explain_volume(message: str) -> str:
    """What a message about the Pod's volumes means for a person; "" if it is about something else."""
    return next((text for part, text in _VOLUME_MEANINGS.items() if part in message), "")


def claim_is_missing(message: str) -> bool:
    """Whether the scheduler cannot place a Pod because its PersistentVolumeClaim does not exist."""
    return _CLAIM_MISSING.search(message) is not None
