"""One list+watch of our Jobs and Pods per namespace, shared by every run of the process (PEERS W8).

A run holds a `JobWatch`: the last that is known of its Job and Pod, and a way to wait for news. Only positive
observations count. A watch with a label selector says DELETED of an object that was deleted and of one that
only lost a label, and a list leaves out both. So what left the selection is read by its name and uid, every
few seconds as long as it exists. An API server out of reach changes nothing but `silent_since`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from paperclip_claude_k8s.base.aio import Backoff, Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.labels import AGENT_POD_ANNOTATION, ALL_OURS
from paperclip_claude_k8s.cluster.model import JobRef, JobSnapshot, Known, PodSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.cluster.watch_cache import S, Told, WatchCache, noted, oldest_first

_log = logging.getLogger("paperclip_claude_k8s")
T_contra = TypeVar("T_contra", JobSnapshot, PodSnapshot, contravariant=True)
FROM_NOW = "0"
"""Version from which a watch first brings what is there, then every change; always from the server's cache,
which sends bookmarks, and whose age does no harm to somebody who acts on nothing but later changes."""
QUICK_WATCH = 1.0
"""Seconds: a server that ends watches sooner than this is not asked again at once."""


class JobWatch:
    """What one run knows of its Job and Pod. `known` is replaced as a whole: a reader sees one moment."""

    def __init__(self, job: JobSnapshot) -> None:
        self.ref: JobRef = job.ref
        self.known = Known(job=job)
        self.silent_since: float | None = None
        self.refused: ClusterError | None = None
        """Why we may not look at Jobs or Pods, once the server has kept saying so."""
        self.on_change: Callable[[Known], None] | None = None
        """Called with each change as it is learnt, before anybody who waits for news."""
        self.on_stray: Callable[[PodSnapshot], None] | None = None
        """Called with our Pod where that does not name our Job: the watch does not tell of it by itself."""
        self._news = asyncio.Event()
        self._news.set()
        self._past: set[str] = set()

    async def news(self) -> Known:
        """Wait until something changed since the last call, then what is known now."""
        await self._news.wait()
        self._news.clear()
        return self.known

    def learn_job(self, job: JobSnapshot, *, gone: bool) -> None:
        stopped = self.known.stopped_by_job or self._stopped_by(job)
        gone = self.known.job_gone or gone
        self._learn(replace(self.known, job=job, job_gone=gone, stopped_by_job=stopped))

    def learn_pod(self, pod: PodSnapshot, *, gone: bool, last: bool = False) -> None:
        """The first Pod seen is ours; one that the Job controller made beside it or after it never is.

        `last`: where it is gone, this is what it was at its end.
        """
        ours = self.known.pod
        if pod.uid in self._past or not self._may_be_ours(pod):
            return
        if ours is None or ours.uid == pod.uid:
            last = self.known.pod_seen_last or (gone and last)
            gone = self.known.pod_gone or gone
            self._learn(replace(self.known, pod=pod, pod_gone=gone, pod_seen_last=last))
            if self.on_stray is not None and not gone and pod.job_uid != self.ref.uid:
                self.on_stray(pod)

    def learn_look(self, job: JobSnapshot | None, pods: Iterable[PodSnapshot]) -> None:
        """What quorum reads found just now: a Job or Pod of ours that is not among it is gone.

        `pods`: our Pod, read by its name, or all of the Job's where none was known before.
        """
        if job is not None and job.ref.uid == self.ref.uid:
            self.learn_job(job, gone=False)
        elif not self.known.job_gone:
            self._learn(replace(self.known, job_gone=True, seen_by="direct read"))
        found, ours = oldest_first(pods), self.known.pod
        if ours is not None and ours.uid not in {pod.uid for pod in found}:
            self.learn_pod(ours, gone=True)
        for pod in found:
            self.learn_pod(pod, gone=False)

    def learn_log_opened(self) -> None:
        """The Pod's log can be read: its agent container has started."""
        self._learn(replace(self.known, log_opened=True))

    def learn_refusal(self, error: ClusterError) -> None:
        self.refused = error
        self._news.set()

    def await_another_pod(self) -> None:
        """Our Pod went before its agent began, and may be replaced: the next one seen is ours."""
        if self.known.pod is not None:
            self._past.add(self.known.pod.uid)
        fresh = replace(self.known, pod=None, pod_gone=False, pod_seen_last=False, stopped_by_job="")
        self._learn(fresh)

    @property
    def pod_name(self) -> str | None:
        """Name of our Pod: as it was seen, or as the Job says of the only one that may run the agent."""
        if self.known.pod is not None:
            return self.known.pod.name
        return self._only_pod.partition("/")[0] or None

    @property
    def _only_pod(self) -> str:
        return self.known.job.annotations.get(AGENT_POD_ANNOTATION, "") if self.known.job is not None else ""

    def _may_be_ours(self, pod: PodSnapshot) -> bool:
        return self._only_pod.partition("/")[2] in {"", pod.uid}

    def _stopped_by(self, job: JobSnapshot) -> Literal["", "suspended", "parallelism"]:
        """What of the Job makes its controller delete a Pod that is there, unless we asked for it."""
        if self.known.pod is None or AGENT_POD_ANNOTATION in job.annotations:
            return ""
        return "suspended" if job.suspended else "parallelism" if job.parallelism == 0 else ""

    def _learn(self, known: Known) -> None:
        if known != self.known:
            self.known = known
            self._news.set()
            try:
                if self.on_change is not None:
                    self.on_change(known)
            except Exception as error:  # noqa: BLE001  # a bug of one run: the watch is all runs'
                _log.error("A bug in the adapter: news of Job %s was not taken", self.ref, exc_info=error)


class _Learn(Protocol[T_contra]):
    def __call__(self, snapshot: T_contra, /, *, gone: bool) -> None: ...


class Informer:
    """The shared watch of one namespace. Starts with its first vigil, ends after its last."""

    def __init__(self, cluster: Cluster, namespace: str, nursery: Nursery, timings: Timings) -> None:
        self._namespace = namespace
        self._nursery = nursery
        self._timings = timings
        self._vigils: dict[str, JobWatch] = {}
        self._work: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._cluster = cluster
        self._jobs = WatchCache(cluster.list_jobs, cluster.watch_jobs, _job_uid, _job_uid, self._tell_job)
        self._pods = WatchCache(cluster.list_pods, cluster.watch_pods, _pod_uid, _pods_job, self._tell_pod)
        self._group: asyncio.TaskGroup | None = None
        self._reading: dict[tuple[JobWatch, str], asyncio.Task[None]] = {}
        """Who reads which object by its name, since the watch does not show it."""

    @asynccontextmanager
    async def job_watch(self, job: JobSnapshot, seen_at: str | None = None) -> AsyncIterator[JobWatch]:
        """Keep watch over this Job, as it was seen just now, and over its Pod.

        `seen_at`: version of a list of Jobs later than this one, which had no Pod before it was created: so
        neither kind has to be listed once more.
        """
        job_watch = JobWatch(job)
        uid = job.ref.uid
        job_watch.on_stray = partial(self._claim, job_watch)
        self._vigils[uid] = job_watch
        try:
            async with self._starting:
                if self._work is None or self._work.done():
                    self._jobs.put(job)
                    work = self._run(seen_at)
                    self._work = await self._nursery.start(work, name=f"informer {self._namespace}")
            for last_job, told in self._jobs.last(uid):
                self._tell_job(uid, last_job, told)
            for last_pod, told in self._pods.last(uid):
                self._tell_pod(uid, last_pod, told)
            yield job_watch
        finally:
            del self._vigils[uid]
            if not self._vigils:
                self._rest()

    def _rest(self) -> None:
        """Nobody looks: stop watching and forget, since nothing keeps what is known true."""
        if self._work is not None:
            self._work.cancel()
            self._work = self._group = None
        self._reading.clear()
        for shelf in (self._jobs, self._pods):
            shelf.forget()

    async def _run(self, seen_at: str | None) -> None:
        pods_from = None if seen_at is None else FROM_NOW
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._keep_watching(self._jobs, seen_at), name="watch jobs")
            group.create_task(self._keep_watching(self._pods, pods_from), name="watch pods")

    async def _keep_watching(self, shelf: WatchCache[S], version: str | None) -> None:
        """List, watch from there, and start over whenever the watch is lost; never ends by itself.

        `version`: where the first watch may begin without a list.
        """
        backoff = Backoff(self._timings.retry, self._timings.retry_cap)
        while True:
            try:
                if version is None:
                    listing = await shelf.list(self._namespace, ALL_OURS)
                    shelf.replace_all(listing)
                    self._heard(shelf)
                    version = listing.resource_version
                start, version = version, None
                await self._watch_on(shelf, start, backoff)
            except ClusterError as error:
                if not error.gone:
                    self._unheard(shelf, error)
            await asyncio.sleep(backoff.pause())

    async def _watch_on(self, shelf: WatchCache[S], version: str, backoff: Backoff) -> None:
        """One watch after the other, as long as the server honours the version we have."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            async for event in shelf.watch(self._namespace, ALL_OURS, version):
                version = noted(shelf, event)
                self._heard(shelf)
                if loop.time() - began >= QUICK_WATCH:
                    backoff.reset()  # only a watch that holds: lists may work where watches are refused
            if loop.time() - began < QUICK_WATCH:
                await asyncio.sleep(backoff.pause())

    def _tell_job(self, uid: str, job: JobSnapshot, told: Told) -> None:
        job_watch = self._vigils.get(uid)
        if job_watch is None:
            return
        if told == "shown":
            job_watch.learn_job(job, gone=False)
        else:
            read = partial(self._cluster.read_job, job.ref.namespace, job.ref.name)
            learn = job_watch.learn_job
            self._read_on(
                job_watch, uid, self._follow(job_watch, self._jobs, job, read, learn, at_once=learn)
            )

    def _tell_pod(self, uid: str, pod: PodSnapshot, told: Told) -> None:
        job_watch = self._vigils.get(uid)
        if job_watch is None:
            return
        if told == "shown":
            job_watch.learn_pod(pod, gone=False)
        else:
            read, learn = partial(self._cluster.read_pod, pod.namespace, pod.name), job_watch.learn_pod
            at_once = partial(learn, last=True) if told == "deleted" else learn
            self._read_on(
                job_watch, pod.uid, self._follow(job_watch, self._pods, pod, read, learn, at_once=at_once)
            )

    def _claim(self, job_watch: JobWatch, pod: PodSnapshot) -> None:
        """A Pod of a run that was released: its changes are this vigil's, or it is read by its name."""
        self._pods.claim(job_watch.ref.uid, pod)
        if not self._pods.shows(pod) and (job_watch, pod.uid) not in self._reading:
            self._tell_pod(job_watch.ref.uid, pod, "missing")

    def _read_on(self, job_watch: JobWatch, uid: str, work: Coroutine[Any, Any, None]) -> None:
        """Follow what left the selection by its name, from its newest state and once at a time."""
        if self._group is None:
            work.close()
            return
        before = self._reading.get((job_watch, uid))
        if before is not None:
            before.cancel()
        task = self._reading[job_watch, uid] = self._group.create_task(work, name=f"read {uid}")
        task.add_done_callback(partial(self._read_out, (job_watch, uid)))

    def _read_out(self, key: tuple[JobWatch, str], task: asyncio.Task[None]) -> None:
        if self._reading.get(key) is task:
            del self._reading[key]

    async def _follow(  # noqa: PLR0913  # what to read, and whom to tell
        self,
        job_watch: JobWatch,
        shelf: WatchCache[S],
        last: S,
        read: Callable[[], Awaitable[S | None]],
        learn: _Learn[S],
        *,
        at_once: _Learn[S],
    ) -> None:
        """Read the object by its name until it is gone, the watch shows it again, or nobody asks for it.

        `at_once` is told instead of `learn` where nothing can have happened to it since `last`.
        """
        while self._vigils.get(job_watch.ref.uid) is job_watch and not shelf.shows(last):
            try:
                there = await read()
            except ClusterError as error:
                at_once = at_once if last.deleting else learn
                if not error.forbidden:
                    await asyncio.sleep(self._timings.retry_cap)
                    continue
                there = None  # we may not read by name: the watch's word is all there is
            if there is None or shelf.uid(there) != shelf.uid(last):
                at_once(last, gone=True)
                return
            last, at_once = there, learn
            learn(last, gone=False)
            await asyncio.sleep(self._timings.look_by_name)

    def _heard(self, shelf: WatchCache[S]) -> None:
        if shelf.silent_since is not None:
            shelf.silent_since = shelf.refused_since = None
            self._tell_silence()

    def _unheard(self, shelf: WatchCache[S], error: ClusterError) -> None:
        """Out of reach is waited out; a refusal that stays is told, since nothing will be seen any more."""
        now = asyncio.get_running_loop().time()
        shelf.silent_since = shelf.silent_since if shelf.silent_since is not None else now
        if not (error.unauthorized or error.forbidden):
            shelf.refused_since = None
        elif shelf.refused_since is None:
            shelf.refused_since = now
        elif now - shelf.refused_since > self._timings.retry_budget:
            for job_watch in self._vigils.values():
                job_watch.learn_refusal(error)
        self._tell_silence()

    def _tell_silence(self) -> None:
        since = [s for s in (self._jobs.silent_since, self._pods.silent_since) if s is not None]
        for job_watch in self._vigils.values():
            job_watch.silent_since = min(since, default=None)


def _job_uid(job: JobSnapshot) -> str:
    return job.ref.uid


def _pod_uid(pod: PodSnapshot) -> str:
    return pod.uid


def _pods_job(pod: PodSnapshot) -> str:
    return pod.job_uid
