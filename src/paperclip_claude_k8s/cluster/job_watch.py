"""The last known state of one run's Job and Pod, and a way to wait for changes.

`Informer` and direct reads call the `update_*` methods; the run reads `known` and awaits `changed()`. An
object counts as gone only if a read or a watch showed that, never because nothing is reported about it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from paperclip_claude_k8s.cluster.labels import AGENT_POD_ANNOTATION
from paperclip_claude_k8s.cluster.model import JobRef, JobSnapshot, Known, PodSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.watch_cache import oldest_first

_log = logging.getLogger(__name__)


class JobWatch:
    """One run's view of its Job and Pod. `known` is replaced as a whole and never modified."""

    def __init__(self, job: JobSnapshot) -> None:
        self.ref: JobRef = job.ref
        self.known = Known(job=job)
        self.unreachable_since: float | None = None
        """Loop time since which lists and watches of Jobs, or of Pods, have failed; None while both
        succeed."""
        self.refused: ClusterError | None = None
        """The server's refusal of lists or watches, set after it has lasted for `Timings.retry_budget`."""
        self.on_change: Callable[[Known], None] | None = None
        """Called synchronously with each change, before any waiter of `changed()` runs."""
        self.on_released: Callable[[PodSnapshot], None] | None = None
        """Called with our Pod when our Job no longer owns it, so that its changes are still forwarded."""
        self._changed = asyncio.Event()
        self._changed.set()
        self._replaced_pods: set[str] = set()

    async def changed(self) -> Known:
        """Wait for a change since the last call; return what is known now. The first call returns at once."""
        await self._changed.wait()
        self._changed.clear()
        return self.known

    def update_job(self, job: JobSnapshot, *, gone: bool) -> None:
        stopped = self.known.stopped_by_job or self._stopped_by(job)
        gone = self.known.job_gone or gone
        self._update(replace(self.known, job=job, job_gone=gone, stopped_by_job=stopped))

    def update_pod(self, pod: PodSnapshot, *, gone: bool, final: bool = False) -> None:
        """Apply a Pod if it is ours, or if we have none yet. Other Pods of the Job are ignored.

        `final`: whether `pod` is the last state of the Pod; it only matters if the Pod is gone.
        """
        ours = self.known.pod
        if pod.uid in self._replaced_pods or not self._may_be_ours(pod):
            return
        if ours is None or ours.uid == pod.uid:
            final = self.known.pod_is_final or (gone and final)
            gone = self.known.pod_gone or gone
            self._update(replace(self.known, pod=pod, pod_gone=gone, pod_is_final=final))
            if self.on_released is not None and not gone and pod.job_uid != self.ref.uid:
                self.on_released(pod)

    def update_from_read(self, job: JobSnapshot | None, pods: Iterable[PodSnapshot]) -> None:
        """Apply the results of consistent reads: our Job or Pod is gone if it is not among them.

        `pods`: our Pod, read by its name; or all Pods of the Job if no Pod was known before the read.
        """
        if job is not None and job.ref.uid == self.ref.uid:
            self.update_job(job, gone=False)
        elif not self.known.job_gone:
            self._update(replace(self.known, job_gone=True, seen_by="direct read"))
        found, ours = oldest_first(pods), self.known.pod
        if ours is not None and ours.uid not in {pod.uid for pod in found}:
            self.update_pod(ours, gone=True)
        for pod in found:
            self.update_pod(pod, gone=False)

    def set_log_opened(self) -> None:
        """Note that the Pod's log could be opened, so its agent container has started."""
        self._update(replace(self.known, log_opened=True))

    def set_refused(self, error: ClusterError) -> None:
        """Note that Job or Pod can no longer be watched, and wake whoever waits for a change."""
        self.refused = error
        self._changed.set()

    def expect_another_pod(self) -> None:
        """Ignore our Pod from now on and take the next one: ours is gone, and its agent never began."""
        if self.known.pod is not None:
            self._replaced_pods.add(self.known.pod.uid)
        self._update(replace(self.known, pod=None, pod_gone=False, pod_is_final=False, stopped_by_job=""))

    @property
    def pod_name(self) -> str | None:
        """Name of our Pod; until it is seen, of the Pod that the Job's annotation names, if any."""
        if self.known.pod is not None:
            return self.known.pod.name
        name, _ = self._only_pod
        return name or None

    @property
    def _only_pod(self) -> tuple[str, str]:
        """Name and uid of the only Pod that may run the agent, by the Job's annotation; empty if any may."""
        annotations = self.known.job.annotations if self.known.job is not None else {}
        name, _, uid = annotations.get(AGENT_POD_ANNOTATION, "").partition("/")
        return name, uid

    def _may_be_ours(self, pod: PodSnapshot) -> bool:
        _, uid = self._only_pod
        return uid in {"", pod.uid}

    def _stopped_by(self, job: JobSnapshot) -> Literal["", "suspended", "parallelism"]:
        """The field that makes the Job controller delete our Pod; "" if none does, or the adapter set it."""
        if self.known.pod is None or AGENT_POD_ANNOTATION in job.annotations:
            return ""
        return "suspended" if job.suspended else "parallelism" if job.parallelism == 0 else ""

    def _update(self, known: Known) -> None:
        if known != self.known:
            self.known = known
            self._changed.set()
            try:
                if self.on_change is not None:
                    self.on_change(known)
            except Exception as error:  # noqa: BLE001  # a bug in one run must not end the watch of all runs
                _log.error("A bug in the adapter: change of Job %s not handled", self.ref, exc_info=error)
