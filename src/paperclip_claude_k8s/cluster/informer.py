"""One list and watch of our Jobs and Pods per namespace, shared by all runs of the process.

Like client-go's informers: list, watch from the list's version, apply the events to a cache, and list again
when the watch is lost (410) or an error ends it. Each run gets a `JobWatch`, to which the changes of its Job
and Pod are forwarded.

An object that leaves the label selection may have been deleted or may only have lost a label; neither list
nor watch shows which. It is therefore polled by name until it is gone, is in the selection again, or its run
ends. An unreachable API server changes nothing but `JobWatch.unreachable_since`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from paperclip_claude_k8s.base.aio import Backoff, Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.labels import ALL_OURS
from paperclip_claude_k8s.cluster.model import JobSnapshot, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.watch_cache import Change, S, WatchCache

T_contra = TypeVar("T_contra", JobSnapshot, PodSnapshot, contravariant=True)
FROM_CACHE = "0"
"""Version from which a watch first sends what exists, then every change. The API server answers it from its
watch cache, which may be a little old; that does no harm to a caller that acts on later changes only."""
QUICK_WATCH = 1.0
"""A watch that ends sooner than this, in seconds, is followed by a pause."""


class _Update(Protocol[T_contra]):
    def __call__(self, snapshot: T_contra, /, *, gone: bool) -> None: ...


class Informer:
    """The shared watch of one namespace. Starts with the first `job_watch`, stops after the last."""

    def __init__(self, cluster: Cluster, namespace: str, nursery: Nursery, timings: Timings) -> None:
        self._namespace = namespace
        self._nursery = nursery
        self._timings = timings
        self._cluster = cluster
        self._watches: dict[str, JobWatch] = {}
        """Job's uid → the view of the run that watches it."""
        self._work: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._jobs = WatchCache(cluster.list_jobs, cluster.watch_jobs, _job_uid, _job_uid, self._on_job)
        self._pods = WatchCache(cluster.list_pods, cluster.watch_pods, _pod_uid, _owner_uid, self._on_pod)
        self._polls = _Polls(self._is_watched, timings)

    @asynccontextmanager
    async def job_watch(self, job: JobSnapshot, list_version: str | None = None) -> AsyncIterator[JobWatch]:
        """Watch this Job, given as it was seen just now, and its Pod.

        `list_version`: version of a list of Jobs made later than `job`, at which the Job had no Pod yet; with
        it neither kind has to be listed again.
        """
        watch = JobWatch(job)
        uid = job.ref.uid
        watch.on_released = partial(self._assign_released, watch)
        self._watches[uid] = watch
        try:
            async with self._starting:
                if self._work is None or self._work.done():
                    self._jobs.put(job)
                    work = self._run(list_version)
                    self._work = await self._nursery.start(work, name=f"informer {self._namespace}")
            for known_job, change in self._jobs.objects_of(uid):
                self._on_job(uid, known_job, change)
            for known_pod, change in self._pods.objects_of(uid):
                self._on_pod(uid, known_pod, change)
            yield watch
        finally:
            del self._watches[uid]
            if not self._watches:
                self._stop()

    def _stop(self) -> None:
        """Stop watching and clear the caches, which would not be kept up to date."""
        if self._work is not None:
            self._work.cancel()
            self._work = None
        self._polls.stop()
        self._jobs.clear()
        self._pods.clear()

    def _is_watched(self, watch: JobWatch) -> bool:
        return self._watches.get(watch.ref.uid) is watch

    async def _run(self, list_version: str | None) -> None:
        pods_from = None if list_version is None else FROM_CACHE
        async with asyncio.TaskGroup() as group:
            self._polls.start(group)
            group.create_task(self._list_and_watch(self._jobs, list_version), name="watch jobs")
            group.create_task(self._list_and_watch(self._pods, pods_from), name="watch pods")

    async def _list_and_watch(self, cache: WatchCache[S], version: str | None) -> None:
        """List, watch from there, and start over whenever the watch is lost; never returns.

        `version`: where the first watch may begin without a list.
        """
        backoff = Backoff(self._timings.retry, self._timings.retry_cap)
        while True:
            try:
                if version is None:
                    listing = await cache.list(self._namespace, ALL_OURS)
                    cache.replace_all(listing)
                    self._note_success(cache)
                    version = listing.resource_version
                start, version = version, None
                await self._watch(cache, start, backoff)
            except ClusterError as error:
                if not error.gone:
                    self._note_failure(cache, error)
            await asyncio.sleep(backoff.pause())

    async def _watch(self, cache: WatchCache[S], version: str, backoff: Backoff) -> None:
        """One watch after the other until one fails. Raises `ClusterError`."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            async for event in cache.watch(self._namespace, ALL_OURS, version):
                version = cache.apply(event)
                self._note_success(cache)
                if loop.time() - began >= QUICK_WATCH:
                    backoff.reset()  # only a watch that lasts: lists may work while watches are refused
            if loop.time() - began < QUICK_WATCH:
                await asyncio.sleep(backoff.pause())

    def _on_job(self, uid: str, job: JobSnapshot, change: Change) -> None:
        watch = self._watches.get(uid)
        if watch is None:
            return
        update = watch.update_job
        if change == "present":
            update(job, gone=False)
        else:
            read = partial(self._cluster.read_job, job.ref.namespace, job.ref.name)
            work = self._polls.poll(watch, self._jobs, job, read, update, first_update=update)
            self._polls.begin(watch, uid, work)

    def _on_pod(self, uid: str, pod: PodSnapshot, change: Change) -> None:
        watch = self._watches.get(uid)
        if watch is None:
            return
        update = watch.update_pod
        if change == "present":
            update(pod, gone=False)
        else:
            read = partial(self._cluster.read_pod, pod.namespace, pod.name)
            first_update = partial(update, final=True) if change == "deleted" else update
            work = self._polls.poll(watch, self._pods, pod, read, update, first_update=first_update)
            self._polls.begin(watch, pod.uid, work)

    def _assign_released(self, watch: JobWatch, pod: PodSnapshot) -> None:
        """Forward changes of a released Pod to its run; poll it by name if it is not in the selection."""
        self._pods.assign(watch.ref.uid, pod)
        if not self._pods.has(pod) and not self._polls.running(watch, pod.uid):
            self._on_pod(watch.ref.uid, pod, "missing")

    def _note_success(self, cache: WatchCache[S]) -> None:
        if cache.failing_since is not None:
            cache.failing_since = cache.refused_since = None
            self._publish_outage()

    def _note_failure(self, cache: WatchCache[S], error: ClusterError) -> None:
        """An outage is waited out. A lasting refusal is reported, because no further change will be seen."""
        now = asyncio.get_running_loop().time()
        cache.failing_since = cache.failing_since if cache.failing_since is not None else now
        if not (error.unauthorized or error.forbidden):
            cache.refused_since = None
        elif cache.refused_since is None:
            cache.refused_since = now
        elif now - cache.refused_since > self._timings.retry_budget:
            for watch in self._watches.values():
                watch.set_refused(error)
        self._publish_outage()

    def _publish_outage(self) -> None:
        since = [time for time in (self._jobs.failing_since, self._pods.failing_since) if time is not None]
        for watch in self._watches.values():
            watch.unreachable_since = min(since, default=None)


class _Polls:
    """Polls objects by name that left the selection: one task per run and object."""

    def __init__(self, is_watched: Callable[[JobWatch], bool], timings: Timings) -> None:
        self._is_watched = is_watched
        self._timings = timings
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[tuple[JobWatch, str], asyncio.Task[None]] = {}

    def start(self, group: asyncio.TaskGroup) -> None:
        """`group` gets the tasks from now on."""
        self._group = group

    def stop(self) -> None:
        """Forget the tasks; their group is being cancelled."""
        self._group = None
        self._tasks.clear()

    def running(self, watch: JobWatch, uid: str) -> bool:
        return (watch, uid) in self._tasks

    def begin(self, watch: JobWatch, uid: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, a call of `poll`, in place of an earlier poll of the same object."""
        if self._group is None:
            work.close()
            return
        before = self._tasks.get((watch, uid))
        if before is not None:
            before.cancel()
        task = self._tasks[watch, uid] = self._group.create_task(work, name=f"read {uid}")
        task.add_done_callback(partial(self._ended, (watch, uid)))

    def _ended(self, key: tuple[JobWatch, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

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
        """Read the object by name until it is gone, is in the selection again, or its run stops watching.

        `first_update` replaces `update` as long as the object cannot have changed since `last`.
        """
        while self._is_watched(watch) and not cache.has(last):
            try:
                current = await read()
            except ClusterError as error:
                first_update = first_update if last.deleting else update
                if not error.forbidden:
                    await asyncio.sleep(self._timings.retry_cap)
                    continue
                current = None  # we may not read by name: what the watch reported is all we can know
            if current is None or cache.uid(current) != cache.uid(last):
                first_update(last, gone=True)
                return
            last, first_update = current, update
            update(last, gone=False)
            await asyncio.sleep(self._timings.poll_by_name)


def _job_uid(job: JobSnapshot) -> str:
    return job.ref.uid


def _pod_uid(pod: PodSnapshot) -> str:
    return pod.uid


def _owner_uid(pod: PodSnapshot) -> str:
    return pod.job_uid
