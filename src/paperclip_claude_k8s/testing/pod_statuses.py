"""Writes the status of the Pods of a cluster in memory, as a kubelet does."""

from collections.abc import Sequence
from typing import Any

from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.store import Store, now
from paperclip_claude_k8s.relay.git import PUSH_CONTAINER
from paperclip_claude_k8s.relay.upload_scripts import RETURN_CONTAINER
from paperclip_claude_k8s.testing.pod_script import PodScript

Object = dict[str, Any]


class PodStatuses:
    """Writes the status of Pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set_terminated(self, pod: Object, code: int, reason: str, message: str, pushed: str = "") -> None:
        """Report the agent's end. `pushed`: message of the pushing container, which ended too; "": none."""
        beside = [{"name": PUSH_CONTAINER, "state": _terminated(0, "Completed", pushed)}] if pushed else []
        self.set_state(pod, "Failed" if code else "Succeeded", _terminated(code, reason, message), beside)

    def set_ended(self, pod: Object, pod_script: PodScript, message: str) -> None:
        """Report the end of an agent whose script is over."""
        code = pod_script.exit_code
        reason = pod_script.reason or ("Completed" if code == 0 else "Error")
        if pod_script.others_run:
            beside = [{"name": RETURN_CONTAINER, "state": {"running": {"startedAt": now()}}}]
            self.set_state(pod, "Running", _terminated(code, reason, message), beside)
        else:
            self.set_terminated(pod, code, reason, message, pod_script.pushed)

    def evict(self, pod: Object) -> None:
        def change(stored: Object) -> None:
            target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
            stored["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}
            stored["status"].setdefault("conditions", []).append(target)

        meta = pod["metadata"]
        self._store.update(PODS, meta["namespace"], meta["name"], change)

    def set_state(self, pod: Object, phase: str, state: Object, beside: Sequence[Object] = ()) -> None:
        """Set the phase, and the state of the agent's container. `beside`: statuses of other containers."""

        def change(stored: Object) -> None:
            agent = {"name": "claude", "state": state, "containerID": f"fake://{stored['metadata']['uid']}"}
            stored["status"] |= {"phase": phase, "containerStatuses": [agent, *beside]}

        meta = pod["metadata"]
        try:
            self._store.update(PODS, meta["namespace"], meta["name"], change)
        except Problem:
            return  # the Pod was deleted by force

    def set_failed(self, pod: Object) -> None:
        def change(stored: Object) -> None:
            stored["status"]["phase"] = "Failed"

        self._store.update(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], change)


def _terminated(code: int, reason: str, message: str) -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": now()}}
