"""Reads a caller's description of how the container ended that printed the recorded output."""

from collections.abc import Iterable, Mapping
from typing import Any

from paperclip_claude_k8s.base.json_readers import get_object
from paperclip_claude_k8s.cluster.client_objects import json_of
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.verdict.disruption import lost_container
from paperclip_claude_k8s.verdict.ending import Disrupted, Ending, Exited, JobGone

NO_NAME = "(replay)"
"""Stands for the names of the Job, the Pod and the namespace, which a recording does not contain."""
FIELDS = ("exitCode", "reason", "message", "signal", "deleted", "disrupted")
"""Fields of a caller's description."""
_FURTHER_FIELDS = frozenset({"containerID", "finishedAt", "startedAt"})
"""Fields of a container's state in Kubernetes that are accepted and ignored."""


class ReplayInvalid(ValueError):
    """The recording cannot be replayed; the message says why."""


def ending_of(exit_code: int | None = None, pod_state: object = None) -> Ending:
    """How the container ended. Without arguments, it exited with 0; `exit_code` replaces the state's.

    `pod_state`: some of `FIELDS` in a mapping, a `V1ContainerState`, or its `terminated`. `deleted`: the Job
    was deleted. `disrupted`: the reason why the cluster removed the Pod, such as "Evicted".

    Raises:
        ReplayInvalid: a field is unknown or has a value of a wrong type.
    """
    state = _fields_of(pod_state)
    code = exit_code if exit_code is not None else state.get("exitCode", None if state else 0)
    if code is not None and (not isinstance(code, int) or isinstance(code, bool)):
        raise ReplayInvalid(f"the exit code must be a whole number, not {code!r:.100}")
    texts = {key: str(state.get(key) or "") for key in ("reason", "message", "disrupted")}
    signal = state.get("signal") if isinstance(state.get("signal"), int) else None
    # whether the state says how the container ended, not only what happened to its Pod or Job
    is_known = code is not None or texts["reason"] or texts["message"]
    terminated = Terminated(code, texts["reason"], texts["message"], signal)
    if (lost := lost_container(terminated)) is not None:
        return Disrupted(NO_NAME, lost.reason, lost.details, terminated)
    if state.get("deleted"):
        return JobGone(seen_by="replay", terminated=terminated if is_known else None)
    if texts["disrupted"]:
        return Disrupted(NO_NAME, texts["disrupted"], texts["message"], terminated if is_known else None)
    return Exited(terminated)


def _fields_of(pod_state: object) -> dict[str, Any]:
    if pod_state is None:
        return {}
    if isinstance(pod_state, Terminated):
        names = ("exit_code", "reason", "message", "signal")
        return json_of({name: getattr(pod_state, name) for name in names})
    if not isinstance(pod_state, Mapping) and not hasattr(pod_state, "attribute_map"):
        raise ReplayInvalid(f"a pod state is an object with {_joined(FIELDS)}")
    state = json_of(pod_state)
    state = get_object(state, "terminated") if "terminated" in state else state
    if unknown := set(state) - {*FIELDS, *_FURTHER_FIELDS}:
        raise ReplayInvalid(
            f"a pod state has no field {_joined(sorted(unknown))}; known are {_joined(FIELDS)}"
        )
    return state


def _joined(names: Iterable[object]) -> str:
    return ", ".join(str(name)[:100] for name in names)
