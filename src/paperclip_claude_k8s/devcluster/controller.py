"""What the control plane does by itself: Jobs get Pods and endings, Pods a node, orphans are collected."""

import asyncio
import copy
import random
from datetime import UTC, datetime
from typing import Any

from paperclip_claude_k8s.devcluster import kinds
from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.devcluster.kubelet import NODE
from paperclip_claude_k8s.devcluster.quantities import fits
from paperclip_claude_k8s.devcluster.store import Store, now

Object = dict[str, Any]
FOREGROUND = "foregroundDeletion"


class Controller:
    """One pass over everything after each change, and whenever a deadline or a TTL is due."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._mischief = faults
        self._job_events = Events(store, "job-controller")
        self._scheduler_events = Events(store, "default-scheduler")
        self._due: float | None = None

    async def run(self) -> None:
        while True:
            moved = self._store.next_move()
            self._due = None
            self._look()
            if not moved.is_set():
                await self._until(moved)

    async def _until(self, moved: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(None if self._due is None else max(self._due, 0.01)):
                await moved.wait()
        except TimeoutError:
            return

    def _look(self) -> None:
        for pod in self._store.list(PODS):
            self._schedule(pod)
        for job in self._store.list(JOBS):
            self._reconcile(job)
        self._collect_orphans()

    # Scheduling -----------------------------------------------------------------------------------

    def _schedule(self, pod: Object) -> None:
        if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            return
        why = fits(pod["spec"])
        if why is not None:
            self._unschedulable(pod, f"0/1 nodes are available: 1 {why}.")
            return

        def change(found: Object) -> None:
            found["spec"]["nodeName"] = NODE
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
            found["status"] = {**found["status"], "conditions": [scheduled]}

        name = pod["metadata"]["name"]
        self._store.update(PODS, pod["metadata"]["namespace"], name, change)
        words = f"Successfully assigned {pod['metadata']['namespace']}/{name} to {NODE}"
        self._scheduler_events.record(pod, "Normal", "Scheduled", words)

    def _unschedulable(self, pod: Object, why: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        if pod["status"].get("conditions") == [condition]:
            return
        meta = pod["metadata"]

        def change(found: Object) -> None:
            found["status"]["conditions"] = [condition]

        self._store.update(PODS, meta["namespace"], meta["name"], change)
        self._scheduler_events.record(pod, "Warning", "FailedScheduling", why)

    # Jobs -------------------------------------------------------------------------------------------

    def _reconcile(self, job: Object) -> None:
        if job["metadata"].get("deletionTimestamp"):
            self._delete_in_foreground(job)
        elif _finished(job):
            self._expire(job)
        elif job["spec"].get("suspend"):
            self._suspend(job)
        else:
            self._drive(job)

    def _suspend(self, job: Object) -> None:
        active = _active(self._pods_of(job))
        for pod in active:
            self._delete_pod(pod)
        if active:
            self._set_active(job, 0)  # these Pods do not count as failed
            self._job_events.record(job, "Normal", "Suspended", "Job suspended")

    def _drive(self, job: Object) -> None:
        self._release(job)
        meta = job["metadata"]
        job = self._store.get(JOBS, meta["namespace"], meta["name"])  # as it is without what was released
        pods = self._pods_of(job)
        if self._overdue(job):
            self._fail(job, "DeadlineExceeded", "Job was active longer than specified deadline")
            for pod in pods:
                self._delete_pod(pod)
            return
        phases = [pod["status"].get("phase") for pod in pods]
        if "Succeeded" in phases:
            self._settle(job, "Complete", "", "")
        elif "Failed" in phases:
            self._settle(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        else:
            self._scale(job, pods)

    def _scale(self, job: Object, pods: list[Object]) -> None:
        """As many Pods as the Job's parallelism says; one that is being deleted counts by its policy."""
        active, wanted = _active(pods), job["spec"].get("parallelism", 1)
        waits = job["spec"].get("podReplacementPolicy") == "Failed"
        had_one = bool(job.get("status", {}).get("active"))
        for pod in active[wanted:]:
            self._delete_pod(pod)
            name = pod["metadata"]["name"]
            self._job_events.record(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        if active or pods:
            self._set_active(job, len(pods if waits else active[:wanted]))
        if len(active) >= wanted or (waits and pods):
            return
        if waits and had_one:  # it vanished, which counts as a failure
            self._fail(job, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
            return
        self._start(job)

    def _release(self, job: Object) -> None:
        """Let go of the Pods that the Job's selector does not find any more."""
        uid = job["metadata"]["uid"]

        def change(found: Object) -> None:
            owners = found["metadata"].get("ownerReferences") or []
            found["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]

        for pod in self._pods_of(job):
            meta = pod["metadata"]
            if (meta.get("labels") or {}).get("controller-uid") != uid:
                self._store.update(PODS, meta["namespace"], meta["name"], change)
                self._set_active(job, 0)  # it is replaced, not counted as failed

    def _start(self, job: Object) -> None:
        meta, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
        suffix = "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))  # noqa: S311  # a name
        labels = {
            **template.get("metadata", {}).get("labels", {}),
            "job-name": meta["name"],
            "controller-uid": meta["uid"],
        }
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        pod = self._store.create(
            PODS,
            {
                "metadata": {
                    "name": f"{meta['name']}-{suffix}",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": template.get("metadata", {}).get("annotations", {}),
                    "ownerReferences": [owner],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )
        self._job_events.record(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    def _set_active(self, job: Object, active: int) -> None:
        def change(found: Object) -> None:
            status = found.setdefault("status", {})
            status.setdefault("startTime", now())
            status["active"] = active

        self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)

    def _settle(self, job: Object, kind: str, reason: str, message: str) -> None:
        """The Job's condition, as late as mischief wants it."""
        if self._mischief.condition_delay:
            finished = max((_finish_time(pod) for pod in self._pods_of(job)), default=_utc())
            wait = self._mischief.condition_delay - (_utc() - finished)
            if wait > 0:
                self._wake_in(wait)
                return
        if kind == "Failed":
            self._fail(job, reason, message)
            return

        def change(found: Object) -> None:
            status = found.setdefault("status", {})
            status.update(succeeded=1, completionTime=now(), conditions=[_condition("Complete")])
            status.pop("active", None)

        self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)
        self._job_events.record(job, "Normal", "Completed", "Job completed")

    def _fail(self, job: Object, reason: str, message: str) -> None:
        def change(found: Object) -> None:
            status = found.setdefault("status", {})
            status.update(failed=1, conditions=[_condition("Failed", reason, message)])
            status.pop("active", None)

        self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)
        self._job_events.record(job, "Warning", reason, message)

    def _overdue(self, job: Object) -> bool:
        deadline, started = job["spec"].get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
        if not deadline or not started:
            return False
        left = _seconds(started) + float(deadline) - _utc()
        if left > 0:
            self._wake_in(left)
        return left <= 0

    def _expire(self, job: Object) -> None:
        """TTL: counted from the condition."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        left = _seconds(job["status"]["conditions"][0]["lastTransitionTime"]) + float(ttl) - _utc()
        if left > 0:
            self._wake_in(left)
        else:
            self._store.remove(JOBS, job["metadata"]["namespace"], job["metadata"]["name"])

    # Deletion -----------------------------------------------------------------------------------------

    def _delete_in_foreground(self, job: Object) -> None:
        """The Job stays until its Pods are gone."""
        pods = self._pods_of(job)
        for pod in pods:
            self._delete_pod(pod)
        if not pods:

            def change(found: Object) -> None:
                others = [word for word in found["metadata"].get("finalizers") or [] if word != FOREGROUND]
                found["metadata"]["finalizers"] = others

            self._store.update(JOBS, job["metadata"]["namespace"], job["metadata"]["name"], change)

    def _delete_pod(self, pod: Object) -> None:
        mark_deleted(self._store, pod, None)

    def _collect_orphans(self) -> None:
        """Whatever names an owner that is gone goes too."""
        alive = {obj["metadata"]["uid"] for kind in kinds.ALL for obj in self._store.list(kind)}
        for kind in kinds.ALL:
            for obj in self._store.list(kind):
                owners = obj["metadata"].get("ownerReferences") or []
                if owners and not any(owner["uid"] in alive for owner in owners):
                    if kind == PODS:
                        self._delete_pod(obj)
                    else:
                        self._store.remove(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])

    def _pods_of(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        return [
            pod
            for pod in self._store.list(PODS, job["metadata"]["namespace"])
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or [])
        ]

    def _wake_in(self, seconds: float) -> None:
        self._due = seconds if self._due is None else min(self._due, seconds)


def _active(pods: list[Object]) -> list[Object]:
    """Those that run or will run, and are not being deleted."""
    return [
        pod
        for pod in pods
        if pod["status"].get("phase") in {"Pending", "Running"}
        and not pod["metadata"].get("deletionTimestamp")
    ]


def mark_deleted(store: Store, pod: Object, grace: float | None) -> Object:
    """A Pod is deleted by a mark; its kubelet takes it out when its processes are gone."""
    meta = pod["metadata"]
    seconds = grace if grace is not None else pod["spec"].get("terminationGracePeriodSeconds", 30)

    def change(found: Object) -> None:
        found["metadata"].setdefault("deletionTimestamp", now())
        found["metadata"].setdefault("deletionGracePeriodSeconds", seconds)

    return store.update(PODS, meta["namespace"], meta["name"], change)


def _finished(job: Object) -> bool:
    return any(c["type"] in {"Complete", "Failed"} for c in job.get("status", {}).get("conditions") or [])


def _condition(kind: str, reason: str = "", message: str = "") -> Object:
    told = {"reason": reason, "message": message} if reason else {}
    return {"type": kind, "status": "True", "lastProbeTime": now(), "lastTransitionTime": now(), **told}


def _finish_time(pod: Object) -> float:
    ends = [
        _seconds(status["state"]["terminated"]["finishedAt"])
        for status in pod["status"].get("containerStatuses") or []
        if "terminated" in status["state"]
    ]
    return max(ends, default=_utc())


def _utc() -> float:
    return datetime.now(UTC).timestamp()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
