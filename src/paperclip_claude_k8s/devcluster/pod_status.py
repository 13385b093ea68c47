"""The status of one Pod, as a kubelet reports it."""

import copy
import os
import stat
from pathlib import Path

from paperclip_claude_k8s.devcluster.crilog import LogFile
from paperclip_claude_k8s.devcluster.kinds import PODS, Object
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.store import Store, now

MESSAGE_BYTES = 4096
"""Largest number of bytes of a termination message."""
FALLBACK_BYTES, FALLBACK_LINES = 2048, 80
"""How much of the log becomes the termination message with `FallbackToLogsOnError`."""
LOG_BYTES = 256 * 1024
"""Largest number of bytes that are read from the end of the log for this message."""


class PodStatus:
    """Collects the states of the containers and writes them into the Pod object."""

    def __init__(self, pod: Object, store: Store) -> None:
        self._meta = pod["metadata"]
        self._spec = pod["spec"]
        self._store = store
        self._states: dict[str, Object] = {}

    def set_waiting(self, reason: str, message: str = "") -> None:
        """Write that all main containers wait for this reason."""
        waiting = {"reason": reason, **({"message": message} if message else {})}
        for spec in self._spec["containers"]:
            self._states[spec["name"]] = {"waiting": waiting}
        self.publish("Pending")

    def set_running(self, name: str, started_at: str, *, init: bool) -> None:
        self._states[name] = {"running": {"startedAt": started_at}}
        self.publish("Pending" if init else "Running")

    def set_terminated(self, spec: Object, code: int, started_at: str, message: bytes) -> None:
        """Store the state; `publish` writes it together with the phase that follows from it."""
        self._states[spec["name"]] = {
            "terminated": {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                **({"message": message.decode("utf-8", "replace")} if message else {}),
                "startedAt": started_at,
                "finishedAt": now(),
                "containerID": f"dev://{self._meta['uid']}-{spec['name']}",
            }
        }

    def publish(self, phase: str) -> None:
        """Write the whole status, unless the Pod was evicted in the meantime."""

        def change(pod: Object) -> None:
            if pod["metadata"]["uid"] != self._meta["uid"] or pod["status"].get("reason") == "Evicted":
                return
            status = pod["status"]
            status["phase"] = phase
            status.setdefault("startTime", now())
            status["containerStatuses"] = [self._container_status(spec) for spec in self._spec["containers"]]
            inits = [self._container_status(spec) for spec in self._spec.get("initContainers") or []]
            if inits:
                status["initContainerStatuses"] = inits
            _set_condition(status, "Initialized", phase != "Pending")
            _set_condition(status, "Ready", phase == "Running")
            _set_condition(status, "ContainersReady", phase == "Running")

        try:
            self._store.update(PODS, self._meta["namespace"], self._meta["name"], change)
        except Problem:
            return  # the Pod was force-deleted

    def _container_status(self, spec: Object) -> Object:
        state = self._states.get(spec["name"], {"waiting": {"reason": "PodInitializing"}})
        started = "running" in state or "terminated" in state
        return {
            "name": spec["name"],
            "state": copy.deepcopy(state),
            "lastState": {},
            "ready": "running" in state,
            "started": "running" in state,
            "restartCount": 0,
            "image": spec.get("image", ""),
            "imageID": "",
            **({"containerID": f"dev://{self._meta['uid']}-{spec['name']}"} if started else {}),
        }


def termination_message(spec: Object, code: int, message_file: Path, log: LogFile | None) -> bytes:
    """The container's termination message, or the end of its log if `terminationMessagePolicy` says so."""
    message = _part_of(message_file, MESSAGE_BYTES, from_start=True)
    if message or code == 0 or spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return message
    pieces = _part_of(log.path, LOG_BYTES).split(b"\n") if log is not None else []
    records = pieces[-FALLBACK_LINES - 1 : -1]  # without the empty piece after the last newline
    return b"\n".join(record.split(b" ", 3)[-1] for record in records)[-FALLBACK_BYTES:]


def _part_of(path: Path, size: int, *, from_start: bool = False) -> bytes:
    """The first or last `size` bytes of a file; b"" if the Pod has replaced it by a link or the like."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b""
        file.seek(0 if from_start else max(0, found.st_size - size))
        return file.read(size)


def _set_condition(status: Object, kind: str, holds: bool) -> None:  # noqa: FBT001
    conditions = status.setdefault("conditions", [])
    new = {"type": kind, "status": "True" if holds else "False"}
    for condition in conditions:
        if condition["type"] == kind:
            if condition["status"] != new["status"]:
                condition.update(new, lastTransitionTime=now())
            return
    conditions.append({**new, "lastTransitionTime": now()})
