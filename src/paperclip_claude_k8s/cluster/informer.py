"""One list and watch of our Jobs and Pods per namespace, shared by all runs of the process.

Like client-go's informers: list, watch from the list's version, apply the events to a cache, and list again
when the watch's version is too old (410) or an error ends the watch. Each run gets a `JobWatch`, to which the
changes of its Job and Pod are forwarded.

An object that leaves the label selection was deleted or only lost a label; neither lists nor watches show
which of the two. It is therefore read by name repeatedly, until it is gone, or is in the selection again, or
its run ends. While the API server cannot be reached, nothing changes but `JobWatch.unreachable_since`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from paperclip_claude_k8s.base.aio import Backoff, Nursery, loop_time
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.watch_cache import Change, S, WatchCache
from paperclip_claude_k8s.instrumentation.event_hub import EventHub
from paperclip_claude_k8s.instrumentation.event_types import WatchChange, WatchChanged

_log = logging.getLogger(__name__)
T_contra = TypeVar("T_contra", JobSnapshot, PodSnapshot, contravariant=True)
FROM_CACHE = "0"
"""A watch from this version first sends the existing objects, then every change. The existing ones come from
the server's cache, which may be slightly behind: harmless here, because the missing changes follow."""
QUICK_WATCH = 1.0
"""Seconds. After a watch that lasted less than this, there is a pause before the next one."""
MAX_POLLS = 20
"""Largest number of objects of one run that are read by name at a time: its Job and its few Pods. A faulty
server could report any number of Pods that have left the selection."""


class _Update(Protocol[T_contra]):
    def __call__(self, snapshot: T_contra, /, *, gone: bool) -> None: ...


class Informer:
    """The shared watch of one namespace. Starts with the first `job_watch`, stops after the last."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        nursery: Nursery,
        timings: Timings,
        events: EventHub | None = None,
    ) -> None:
        self.namespace = namespace
        self._nursery = nursery
        self._timings = timings
        self._cluster = cluster
        self.watches: dict[str, JobWatch] = {}
        """Job's uid → the view of the run that watches it."""
        self._work: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._jobs = WatchCache(
            "jobs", cluster.list_jobs, cluster.watch_jobs, _job_uid, _job_uid, self._on_job
        )
        self._pods = WatchCache(
            "pods", cluster.list_pods, cluster.watch_pods, _pod_uid, _owner_uid, self._on_pod
        )
        self._outages = _Outages(self, timings, events or EventHub())
        self.caches = self._jobs, self._pods
        self._polls = _Polls(self._is_watched, timings)

    @asynccontextmanager
    async def job_watch(self, job: JobSnapshot, list_version: str | None = None) -> AsyncIterator[JobWatch]:
        """Watch this Job, which has just been created or read, and its Pod.

        `list_version`: version of a list of Jobs that was read after `job`, when the Job had no Pod yet. If
        it is given, the first watches begin without listing Jobs and Pods.
        """
        watch = JobWatch(job)
        uid = job.ref.uid
        watch.on_released = partial(self._assign_released, watch)
        self.watches[uid] = watch
        try:
            async with self._starting:
                if self._work is None or self._work.done():
                    self._jobs.put(job)
                    work = self._run(list_version)
                    self._work = await self._nursery.start(work, name=f"informer {self.namespace}")
            if not self._jobs.has(job):
                read = partial(self._cluster.read_job, job.ref.namespace, job.ref.name)
                self._polls.start(watch, uid, self._polls.read_once(watch, self._jobs, job, read))
            for known_job, change in self._jobs.objects_of(uid):
                self._on_job(uid, known_job, change)
            for known_pod, change in self._pods.objects_of(uid):
                self._on_pod(uid, known_pod, change)
            yield watch
        finally:
            del self.watches[uid]
            if not self.watches:
                self._stop()

    def _stop(self) -> None:
        """Stop watching, and clear the caches, which are no longer kept up to date."""
        if self._work is not None:
            self._work.cancel()
            self._work = None
        self._polls.stop()
        self._jobs.clear()
        self._pods.clear()

    def _is_watched(self, watch: JobWatch) -> bool:
        return self.watches.get(watch.ref.uid) is watch

    async def _run(self, list_version: str | None) -> None:
        pods_version = None if list_version is None else FROM_CACHE
        async with asyncio.TaskGroup() as group:
            self._polls.use_group(group)
            group.create_task(self._list_and_watch(self._jobs, list_version), name="watch jobs")
            group.create_task(self._list_and_watch(self._pods, pods_version), name="watch pods")

    async def _list_and_watch(self, cache: WatchCache[S], version: str | None) -> None:
        """List, watch from the list's version, and start over whenever the watch fails; never returns.

        `version`: if given, the first watch begins there, without a list.
        """
        backoff = Backoff(self._timings.retry, self._timings.retry_cap)
        while True:
            try:
                if version is None:
                    listing = await cache.list(self.namespace, ALL_OURS)
                    cache.replace_all(listing)
                    self._outages.note_success(cache)
                    version = listing.resource_version
                start, version = version, None
                await self._watch(cache, start, backoff)
            except Exception as error:  # noqa: BLE001  # one odd object must not end the watch of all runs
                failure = _as_cluster_error(error)
                if not failure.gone:
                    self._outages.note_failure(cache, failure)
            await asyncio.sleep(backoff.pause())

    async def _watch(self, cache: WatchCache[S], version: str, backoff: Backoff) -> None:
        """Run one watch after another until one fails. Raises `ClusterError`."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            async for event in cache.watch(self.namespace, ALL_OURS, version):
                version = cache.apply(event)
                self._outages.note_success(cache)
                if loop.time() - began >= QUICK_WATCH:
                    backoff.reset()  # not after a list, because lists may succeed while watches are refused
            if loop.time() - began < QUICK_WATCH:
                await asyncio.sleep(backoff.pause())

    def _on_job(self, uid: str, job: JobSnapshot, change: Change) -> None:
        watch = self.watches.get(uid)
        if watch is None:
            return
        update = watch.update_job
        if change == "present":
            update(job, gone=False)
        else:
            read = partial(self._cluster.read_job, job.ref.namespace, job.ref.name)
            work = self._polls.poll(watch, self._jobs, job, read, update, first_update=update)
            self._polls.start(watch, uid, work)

    def _on_pod(self, uid: str, pod: PodSnapshot, change: Change) -> None:
        watch = self.watches.get(uid)
        if watch is None:
            return
        update = watch.update_pod
        if change == "present":
            update(pod, gone=False)
        else:
            read = partial(self._cluster.read_pod, pod.namespace, pod.name)
            first_update = partial(update, final=True) if change == "deleted" else update
            work = self._polls.poll(watch, self._pods, pod, read, update, first_update=first_update)
            self._polls.start(watch, pod.uid, work)

    def _assign_released(self, watch: JobWatch, pod: PodSnapshot) -> None:
        """Forward changes of a released Pod to its run; poll it by name if it is not in the selection."""
        self._pods.assign(watch.ref.uid, pod)
        if not self._pods.has(pod) and not self._polls.is_running(watch, pod.uid):
            self._on_pod(watch.ref.uid, pod, "missing")


class _Outages:
    """Records which watches fail, and reports that to runs and subscribers."""

    def __init__(self, informer: Informer, timings: Timings, events: EventHub) -> None:
        self._informer = informer
        self._timings = timings
        self._events = events

    def note_success(self, cache: WatchCache[S]) -> None:
        if cache.failing_since is not None:
            self._emit(cache, "recovered", None)
            cache.failing_since = cache.refused_since = None
            self._publish()

    def note_failure(self, cache: WatchCache[S], error: ClusterError) -> None:
        """Record the failure. After refusals for `Timings.retry_budget` seconds, set `JobWatch.refused`."""
        now = loop_time()
        if cache.failing_since is None:
            cache.failing_since = now
            self._emit(cache, "failing", error)
        if not (error.unauthorized or error.forbidden):
            cache.refused_since = None
        elif cache.refused_since is None:
            cache.refused_since = now
        elif now - cache.refused_since > self._timings.retry_budget:
            self._set_refused(cache, error)
        self._publish()

    def _set_refused(self, cache: WatchCache[S], error: ClusterError) -> None:
        watches = [watch for watch in self._informer.watches.values() if watch.refused is None]
        for watch in watches:
            watch.set_refused(error)
        if watches:
            self._emit(cache, "refused", error)

    def _emit(self, cache: WatchCache[S], change: WatchChange, error: ClusterError | None) -> None:
        if self._events.wants(WatchChanged):
            since = loop_time() if cache.failing_since is None else cache.failing_since
            status, seconds = None if error is None else error.status, loop_time() - since
            where = self._informer.namespace, cache.resource
            self._events.emit(WatchChanged(datetime.now(UTC), *where, change, status, seconds))

    def _publish(self) -> None:
        since = [cache.failing_since for cache in self._informer.caches if cache.failing_since is not None]
        for watch in self._informer.watches.values():
            watch.unreachable_since = min(since, default=None)


class _Polls:
    """Reads objects that left the selection by name, repeatedly: one task per run and object.

    At most `MAX_POLLS` tasks per run; further objects are not read.
    """

    def __init__(self, is_watched: Callable[[JobWatch], bool], timings: Timings) -> None:
        self._is_watched = is_watched
        self._timings = timings
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[JobWatch, dict[str, asyncio.Task[None]]] = {}

    def use_group(self, group: asyncio.TaskGroup) -> None:
        """Start tasks in `group` from now on."""
        self._group = group

    def stop(self) -> None:
        """Start no more tasks. The caller cancels the group in which the running ones are."""
        self._group = None
        self._tasks.clear()

    def is_running(self, watch: JobWatch, uid: str) -> bool:
        return uid in self._tasks.get(watch, {})

    def start(self, watch: JobWatch, uid: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, the coroutine of `poll`, and cancel an earlier poll of the same object."""
        of_run = self._tasks.get(watch, {})
        earlier = of_run.get(uid)
        if self._group is None or (earlier is None and len(of_run) >= MAX_POLLS):
            work.close()
            return
        if earlier is not None:
            earlier.cancel()
        task = self._group.create_task(work, name=f"read {uid}")
        self._tasks.setdefault(watch, {})[uid] = task
        task.add_done_callback(partial(self._on_done, watch, uid))

    def _on_done(self, watch: JobWatch, uid: str, task: asyncio.Task[None]) -> None:
        of_run = self._tasks.get(watch, {})
        if of_run.get(uid) is task:
            del of_run[uid]
        if not of_run:
            self._tasks.pop(watch, None)

    async def poll(  # noqa: PLR0913  # what to read, and where to report it
        self,
        watch: JobWatch,
        cache: WatchCache[S],
        last: S,
        read: Callable[[], Awaitable[S | None]],
        update: _Update[S],
        *,
        first_update: _Update[S],
    ) -> None:
        """Read the object by name until it is gone, or is in the selection again, or its run stops watching.

        `first_update` is called instead of `update` if the object is gone and has not changed since `last`.
        After a failed read that is certain only for an object that was being deleted: any other may have
        lost only its label then, and have changed unseen before it was deleted.
        """
        while self._is_watched(watch) and not cache.has(last):
            try:
                current = await read()
            except ClusterError as error:
                first_update = first_update if last.deleting else update
                if not error.forbidden:
                    await asyncio.sleep(self._timings.retry_cap)
                    continue
                current = None  # we may not read by name, so we rely on the watch, which reported it gone
            if current is None or cache.uid(current) != cache.uid(last):
                first_update(last, gone=True)
                return
            last, first_update = current, update
            update(last, gone=False)
            await asyncio.sleep(self._timings.poll_by_name)

    async def read_once(
        self,
        watch: JobWatch,
        cache: WatchCache[JobSnapshot],
        job: JobSnapshot,
        read: Callable[[], Awaitable[JobSnapshot | None]],
    ) -> None:
        """Read a Job that is not in the cache: if it was deleted already, no watch reports that."""
        while self._is_watched(watch) and not cache.has(job):
            try:
                current = await read()
            except ClusterError as error:
                if error.forbidden:
                    return
                await asyncio.sleep(self._timings.retry_cap)
                continue
            if current is None or current.ref.uid != job.ref.uid:
                watch.update_job(job, gone=True)
            return


def _as_cluster_error(error: Exception) -> ClusterError:
    if isinstance(error, ClusterError):
        return error
    _log.error("A bug in the adapter: a list or watch failed; it begins again", exc_info=error)
    return ClusterError(None, "Bug", type(error).__name__)


def _job_uid(job: JobSnapshot) -> str:
    return job.ref.uid


def _pod_uid(pod: PodSnapshot) -> str:
    return pod.uid


def _owner_uid(pod: PodSnapshot) -> str:
    return pod.job_uid
