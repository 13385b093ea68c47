"""Watch all Jobs and Pods of the adapter in one namespace or in all, for `claude-k8s jobs --watch`."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from paperclip_claude_k8s.base.aio import exception_as_value
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.model import Bookmark, JobSnapshot, PodSnapshot, WatchEvent
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError

SETTLE = 0.1
"""Seconds in which changes are collected before they are shown together."""
S = TypeVar("S", JobSnapshot, PodSnapshot)
Show = Callable[[Sequence[JobSnapshot], Sequence[PodSnapshot]], None]


async def watch_jobs(cluster: Cluster, namespace: str, show: Show) -> None:
    """Call `show` with all Jobs and Pods, and again after changes, until a watch ends.

    `namespace` "": all namespaces. Raises `ClusterError`, and `StdoutUnwritable` from `show`.
    """
    jobs = await cluster.list_jobs(namespace, ALL_OURS)
    pods = await cluster.list_pods(namespace, ALL_OURS)
    known = _KnownObjects(show)
    known.jobs |= {job.ref.uid: job for job in jobs.items}
    known.pods |= {pod.uid: pod for pod in pods.items}
    job_events = cluster.watch_jobs(namespace, ALL_OURS, jobs.resource_version)
    pod_events = cluster.watch_pods(namespace, ALL_OURS, pods.resource_version)
    async with asyncio.TaskGroup() as group:
        coroutines = (
            known.show_changes(),
            known.apply_events(job_events, known.jobs, lambda job: job.ref.uid),
            known.apply_events(pod_events, known.pods, lambda pod: pod.uid),
        )
        tasks = [group.create_task(exception_as_value(coroutine)) for coroutine in coroutines]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    for task in tasks:
        error = None if task.cancelled() else task.result()
        if error is not None:
            raise error


class _KnownObjects:
    """All Jobs and Pods by uid, updated from watches."""

    def __init__(self, show: Show) -> None:
        self.jobs: dict[str, JobSnapshot] = {}
        self.pods: dict[str, PodSnapshot] = {}
        self._show = show
        self._changed = asyncio.Event()
        self._sizes: dict[str, int] = {}
        """Object's uid → size of its last event, in bytes."""
        self._bytes = 0
        """Sum of `_sizes`."""

    async def show_changes(self) -> None:
        while True:
            self._changed.clear()
            self._show(list(self.jobs.values()), list(self.pods.values()))
            await self._changed.wait()
            await asyncio.sleep(SETTLE)

    async def apply_events(
        self,
        events: AsyncGenerator[WatchEvent[S] | Bookmark, None],
        known: dict[str, S],
        uid_of: Callable[[S], str],
    ) -> None:
        """Apply the events to `known` until the watch ends.

        Raises `ClusterError` if there are more objects than can be held.
        """
        async with aclosing(events) as open_events:
            async for event in open_events:
                if isinstance(event, Bookmark):
                    continue
                uid = uid_of(event.snapshot)
                if event.gone:
                    known.pop(uid, None)
                else:
                    known[uid] = event.snapshot
                self._count(uid, 0 if event.gone else event.size, len(known))
                self._changed.set()

    def _count(self, uid: str, size: int, objects: int) -> None:
        """Count the size of an event. Raises `ClusterError` if there are too many bytes or objects."""
        self._bytes += size - self._sizes.pop(uid, 0)
        if size:
            self._sizes[uid] = size
        if self._bytes > LIMITS.list_bytes or objects > LIMITS.list_objects:
            raise ClusterError(None, "TooLarge", "the server sends more Jobs or Pods than can be watched")
