"""The Job controller: creates, replaces and deletes the Pods of Jobs, and writes the status of Jobs."""

import copy
import logging
import random
from datetime import UTC, datetime

from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, Object
from paperclip_claude_k8s.devcluster.store import Store, now

log = logging.getLogger(__name__)
FOREGROUND = "foregroundDeletion"
_COMPLETED = ("Complete", "Completed", "Job completed")
_BACKOFF = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
_DEADLINE = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
"""Condition of a finished Job, and the reason and message of its Event."""


class JobController:
    """Reconciles every Job; keeps no state between two passes."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._events = Events(store, "job-controller")
        self._status = JobStatus(store, faults, self._events)
        self._due: float | None = None
        """What `reconcile_all` returns, as far as its pass has determined it."""

    def reconcile_all(self) -> float | None:
        """One pass over all Jobs. Returns the seconds until the next timed action is due, or None."""
        self._due = None
        for job in self._store.list(JOBS):
            try:
                self._reconcile(job)
            except Exception:
                log.exception("Job %s/%s", job["metadata"]["namespace"], job["metadata"]["name"])
        return self._due

    def _reconcile(self, job: Object) -> None:
        if job["metadata"].get("deletionTimestamp"):
            self._delete_in_foreground(job)
        elif _is_finished(job):
            self._expire(job)
        elif job["spec"].get("suspend"):
            self._suspend(job)
        else:
            self._reconcile_active(job)

    def _suspend(self, job: Object) -> None:
        active = _active(self._pods_of(job))
        for pod in active:
            delete_gracefully(self._store, pod, None)
        if active:
            self._status.set_active(job, 0)  # these Pods do not count as failed
            self._events.record(job, "Normal", "Suspended", "Job suspended")

    def _reconcile_active(self, job: Object) -> None:
        """Reconcile a Job that is not suspended, finished or being deleted."""
        self._release_pods(job)
        meta = job["metadata"]
        job = self._store.get(JOBS, meta["namespace"], meta["name"])  # its status may have just changed
        pods = self._pods_of(job)
        if self._is_overdue(job):
            self._status.finish(job, *_DEADLINE)
            for pod in pods:
                delete_gracefully(self._store, pod, None)
            return
        phases = [pod["status"].get("phase") for pod in pods]
        if "Succeeded" in phases or "Failed" in phases:
            self._finish(job, pods, succeeded="Succeeded" in phases)
        else:
            self._scale(job, pods)

    def _scale(self, job: Object, pods: list[Object]) -> None:
        """Create or delete Pods for `parallelism`. With replacement policy Failed, terminating Pods count."""
        active, wanted = _active(pods), job["spec"].get("parallelism", 1)
        waits_for_end = job["spec"].get("podReplacementPolicy") == "Failed"
        had_pod = bool(job.get("status", {}).get("active"))
        for pod in active[wanted:]:
            delete_gracefully(self._store, pod, None)
            name = pod["metadata"]["name"]
            self._events.record(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        if pods:
            self._status.set_active(job, len(pods if waits_for_end else active[:wanted]))
        if len(active) >= wanted or (waits_for_end and pods):
            return
        if waits_for_end and had_pod:  # the Pod disappeared, which counts as a failure
            self._status.finish(job, *_BACKOFF)
            return
        if self._faults.pod_refusal:
            self._set_due_in(1.0)
            self._events.record_once(
                job, "Warning", "FailedCreate", f"Error creating: {self._faults.pod_refusal}"
            )
            return
        pod = self._store.create(PODS, _pod_for(job, self._faults.pod_suffix))
        self._events.record(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    def _release_pods(self, job: Object) -> None:
        """Remove the owner reference from Pods that the Job's selector no longer matches."""
        uid = job["metadata"]["uid"]

        def change(found: Object) -> None:
            owners = found["metadata"].get("ownerReferences") or []
            found["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]

        for pod in self._pods_of(job):
            meta = pod["metadata"]
            if (meta.get("labels") or {}).get("controller-uid") != uid:
                self._store.update(PODS, meta["namespace"], meta["name"], change)
                self._status.set_active(job, 0)  # the Pod is replaced and does not count as failed

    def _finish(self, job: Object, pods: list[Object], *, succeeded: bool) -> None:
        """Write the Job's condition, `Faults.condition_delay` seconds after its last Pod ended."""
        if self._faults.condition_delay:
            finished = max((_finish_time(pod) for pod in pods), default=_now_seconds())
            left = self._faults.condition_delay - (_now_seconds() - finished)
            if left > 0:
                self._set_due_in(left)
                return
        # one failed Pod is final, whatever `backoffLimit` says: the adapter's Jobs have 0
        self._status.finish(job, *(_COMPLETED if succeeded else _BACKOFF))

    def _is_overdue(self, job: Object) -> bool:
        deadline, started = job["spec"].get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
        if not deadline or not started:
            return False
        left = _seconds(started) + float(deadline) - _now_seconds()
        if left > 0:
            self._set_due_in(left)
        return left <= 0

    def _expire(self, job: Object) -> None:
        """Delete the Job as soon as its TTL, counted from its condition, is over."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        left = _seconds(job["status"]["conditions"][0]["lastTransitionTime"]) + float(ttl) - _now_seconds()
        if left > 0:
            self._set_due_in(left)
        else:
            self._store.remove(JOBS, job["metadata"]["namespace"], job["metadata"]["name"])

    def _delete_in_foreground(self, job: Object) -> None:
        """Delete the Job's Pods and, as soon as they are gone, the Job itself."""
        pods = self._pods_of(job)
        for pod in pods:
            delete_gracefully(self._store, pod, None)
        if not pods:

            def change(found: Object) -> None:
                finalizers = found["metadata"].get("finalizers") or []
                found["metadata"]["finalizers"] = [name for name in finalizers if name != FOREGROUND]

            self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)

    def _pods_of(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        return [
            pod
            for pod in self._store.list(PODS, job["metadata"]["namespace"])
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or [])
        ]

    def _set_due_in(self, seconds: float) -> None:
        self._due = seconds if self._due is None else min(self._due, seconds)


class JobStatus:
    """Writes the status of Jobs."""

    def __init__(self, store: Store, faults: Faults, events: Events) -> None:
        self._store = store
        self._faults = faults
        self._events = events

    def set_active(self, job: Object, active: int) -> None:
        def change(found: Object) -> None:
            status = found.setdefault("status", {})
            status.setdefault("startTime", now())
            status["active"] = active

        self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)

    def finish(self, job: Object, condition: str, reason: str, message: str) -> None:
        """Write the condition, and record an Event with this reason and message."""
        if self._faults.jobs_never_finish:
            return
        failed = condition == "Failed"
        times = {"lastProbeTime": now(), "lastTransitionTime": now()}
        cause = {"reason": reason, "message": message} if failed else {}

        def change(found: Object) -> None:
            status = found.setdefault("status", {})
            status.pop("active", None)
            status["conditions"] = [{"type": condition, "status": "True", **times, **cause}]
            status |= {"failed": 1} if failed else {"succeeded": 1, "completionTime": now()}

        self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)
        self._events.record(job, "Warning" if failed else "Normal", reason, message)


def delete_gracefully(store: Store, pod: Object, grace: float | None) -> Object:
    """Set the Pod's deletion timestamp; the kubelet removes the Pod as soon as its processes have ended.

    `grace` in seconds; None stands for the Pod's own `terminationGracePeriodSeconds`.
    """
    meta = pod["metadata"]
    seconds = grace if grace is not None else pod["spec"].get("terminationGracePeriodSeconds", 30)

    def change(found: Object) -> None:
        found["metadata"].setdefault("deletionTimestamp", now())
        found["metadata"].setdefault("deletionGracePeriodSeconds", seconds)

    return store.update(PODS, meta["namespace"], meta["name"], change)


def _pod_for(job: Object, suffix: str) -> Object:
    """A new Pod from the Job's template. `suffix`: last part of the Pod's name; empty: a random one."""
    meta, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
    suffix = suffix or "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))  # noqa: S311  # a name, no secret
    labels = template.get("metadata", {}).get("labels", {})
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "metadata": {
            "name": f"{meta['name']}-{suffix}",
            "namespace": meta["namespace"],
            "labels": {**labels, "job-name": meta["name"], "controller-uid": meta["uid"]},
            "annotations": template.get("metadata", {}).get("annotations", {}),
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }


def _active(pods: list[Object]) -> list[Object]:
    """The pending and running Pods that are not being deleted."""
    return [
        pod
        for pod in pods
        if pod["status"].get("phase") in {"Pending", "Running"}
        and not pod["metadata"].get("deletionTimestamp")
    ]


def _is_finished(job: Object) -> bool:
    return any(c["type"] in {"Complete", "Failed"} for c in job.get("status", {}).get("conditions") or [])


def _finish_time(pod: Object) -> float:
    times = [
        _seconds(status["state"]["terminated"]["finishedAt"])
        for status in pod["status"].get("containerStatuses") or []
        if "terminated" in status["state"]
    ]
    return max(times, default=_now_seconds())


def _now_seconds() -> float:
    return datetime.now(UTC).timestamp()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
