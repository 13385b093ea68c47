"""The control plane: binds claims, schedules Pods, reconciles Jobs, deletes objects whose owners are gone.

One loop does all of it. It makes a pass over all objects after each change of the store, and when a
deadline, a TTL or a delayed Job condition is due.
"""

import asyncio
import logging
from pathlib import Path

from paperclip_claude_k8s.devcluster.claim_controller import ClaimController, why_claims_unusable
from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.job_controller import JobController, delete_gracefully
from paperclip_claude_k8s.devcluster.kinds import PODS, Object
from paperclip_claude_k8s.devcluster.node import NODE, why_unschedulable
from paperclip_claude_k8s.devcluster.store import Store, now

log = logging.getLogger(__name__)
MIN_WAIT = 0.01
"""Shortest wait in seconds for the next timed action."""


class Controller:
    """Runs scheduler, Job controller and garbage collector in one task."""

    def __init__(self, store: Store, faults: Faults, claims: Path | None = None) -> None:
        """`claims`: folder with the files of the claims."""
        self._store = store
        self._scheduler = Scheduler(store)
        self._claims = ClaimController(store, claims)
        self._jobs = JobController(store, faults)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            changed = self._store.next_change()  # called first, so that a change by this pass starts another
            self._claims.reconcile_all()
            for pod in self._store.list(PODS):
                try:
                    self._scheduler.schedule(pod)
                except Exception:
                    log.exception("Pod %s/%s", pod["metadata"]["namespace"], pod["metadata"]["name"])
            due = self._jobs.reconcile_all()
            _delete_ownerless(self._store)
            if not changed.is_set():
                await _wait(changed, due)


async def _wait(changed: asyncio.Event, due: float | None) -> None:
    """Wait for a change, at most `due` seconds."""
    try:
        async with asyncio.timeout(None if due is None else max(due, MIN_WAIT)):
            await changed.wait()
    except TimeoutError:
        return


class Scheduler:
    """Assigns Pods to the only node, or reports why a Pod does not fit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._events = Events(store, "default-scheduler")

    def schedule(self, pod: Object) -> None:
        if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            return
        lacking = why_claims_unusable(self._store, pod)
        if lacking is not None:
            self._set_unschedulable(pod, f"0/1 nodes are available: {lacking}.")
            return
        reason = why_unschedulable(pod["spec"])
        if reason is not None:
            self._set_unschedulable(pod, f"0/1 nodes are available: 1 {reason}.")
            return

        def change(found: Object) -> None:
            found["spec"]["nodeName"] = NODE
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
            found["status"] = {**found["status"], "conditions": [scheduled]}

        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._store.update(PODS, namespace, name, change)
        message = f"Successfully assigned {namespace}/{name} to {NODE}"
        self._events.record(pod, "Normal", "Scheduled", message)

    def _set_unschedulable(self, pod: Object, text: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
        if pod["status"].get("conditions") == [condition]:
            return
        meta = pod["metadata"]

        def change(found: Object) -> None:
            found["status"]["conditions"] = [condition]

        self._store.update(PODS, meta["namespace"], meta["name"], change)
        self._events.record(pod, "Warning", "FailedScheduling", text)


def _delete_ownerless(store: Store) -> None:
    for kind, obj in store.ownerless():
        if kind == PODS:
            delete_gracefully(store, obj, None)
        else:
            store.remove(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
