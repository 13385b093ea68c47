"""One list+watch of our Jobs and Pods per namespace, shared by every run of the process (PEERS W8).

A run holds a `Vigil`: the last that is known of its Job and Pod, and a way to wait for news. Only positive
observations count: a deletion event, or absence from a quorum list. An API server that cannot be reached
changes nothing but `silent_since`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from paperclip_claude_k8s.cluster.labels import AGENT_CONTAINER, ALL_OURS
from paperclip_claude_k8s.cluster.model import (
    Bookmark,
    JobRef,
    JobSnapshot,
    Known,
    Listing,
    PodSnapshot,
    Running,
    Seen,
    Terminated,
)
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError, Labels
from paperclip_claude_k8s.ground.aio import Backoff, Nursery
from paperclip_claude_k8s.ground.settings import Timings

S = TypeVar("S", JobSnapshot, PodSnapshot)
HTTP_GONE = 410
REFUSED = frozenset({401, 403})
FROM_NOW = "0"
"""Version from which a watch first brings what is there, then every change; always from the server's cache,
which sends bookmarks, and whose age does no harm to somebody who acts on nothing but later changes."""
QUICK_WATCH = 1.0
"""Seconds: a server that ends watches sooner than this is not asked again at once."""


class Vigil:
    """What one run knows of its Job and Pod. `known` is replaced as a whole: a reader sees one moment."""

    def __init__(self, job: JobSnapshot) -> None:
        self.ref: JobRef = job.ref
        self.known = Known(job=job)
        self.silent_since: float | None = None
        self.refused: ClusterError | None = None
        """Why we may not look at Jobs or Pods, once the server has kept saying so."""
        self._news = asyncio.Event()
        self._news.set()

    async def news(self) -> Known:
        """Wait until something changed since the last call, then what is known now."""
        await self._news.wait()
        self._news.clear()
        return self.known

    def learn_job(self, job: JobSnapshot, *, gone: bool) -> None:
        self._learn(replace(self.known, job=job, job_gone=self.known.job_gone or gone))

    def learn_pod(self, pod: PodSnapshot, *, gone: bool) -> None:
        """The first Pod seen is ours; a replacement is only if the first was gone before its agent began."""
        ours = self.known.pod
        if ours is None or ours.uid == pod.uid:
            self._learn(replace(self.known, pod=pod, pod_gone=self.known.pod_gone or gone))
        elif self.known.pod_gone and not _began(ours):
            self._learn(replace(self.known, pod=pod, pod_gone=gone))

    def learn_look(self, job: JobSnapshot | None, pods: Iterable[PodSnapshot]) -> None:
        """What quorum reads found just now: a Job or Pod of ours that is not among it is gone."""
        if job is not None and job.ref.uid == self.ref.uid:
            self.learn_job(job, gone=False)
        elif not self.known.job_gone:
            self._learn(replace(self.known, job_gone=True, seen_by="direct read"))
        found = [pod for pod in pods if pod.job_uid == self.ref.uid]
        ours = self.known.pod
        if ours is not None and ours.uid not in {pod.uid for pod in found}:
            self.learn_pod(ours, gone=True)
        for pod in found:
            self.learn_pod(pod, gone=False)

    def learn_refusal(self, error: ClusterError) -> None:
        self.refused = error
        self._news.set()

    def _learn(self, known: Known) -> None:
        if known != self.known:
            self.known = known
            self._news.set()


def _began(pod: PodSnapshot) -> bool:
    agent = pod.container(AGENT_CONTAINER)
    return agent is not None and isinstance(agent.now, (Running, Terminated))


class _List(Protocol[S]):
    async def __call__(self, namespace: str, labels: Labels) -> Listing[S]: ...


class _Watch(Protocol[S]):
    def __call__(self, namespace: str, labels: Labels, version: str) -> AsyncIterator[Seen[S] | Bookmark]: ...


@dataclass(slots=True)
class _Shelf(Generic[S]):
    """The last known objects of one kind, by the uid of their Job; some that are gone stay in mind."""

    list: _List[S]
    watch: _Watch[S]
    job_uid: Callable[[S], str]
    tell: Callable[[str, S, bool], None]
    there: dict[str, S] = field(default_factory=dict)
    gone: dict[str, S] = field(default_factory=dict)
    silent_since: float | None = None
    """When the server stopped answering about these, for whatever reason."""
    refused_since: float | None = None
    """Since when every answer has been a refusal."""

    def put(self, snapshot: S) -> None:
        uid = self.job_uid(snapshot)
        self.there[uid] = snapshot
        self.tell(uid, snapshot, False)

    def drop(self, snapshot: S) -> None:
        uid = self.job_uid(snapshot)
        self.there.pop(uid, None)
        self.gone[uid] = snapshot
        while len(self.gone) > _REMEMBERED:
            del self.gone[next(iter(self.gone))]
        self.tell(uid, snapshot, True)

    def replace_all(self, listing: Listing[S]) -> None:
        """A list is complete: what was there before and is not in it is gone."""
        found = {self.job_uid(snapshot) for snapshot in listing.items}
        for missing in [snapshot for uid, snapshot in self.there.items() if uid not in found]:
            self.drop(missing)
        for snapshot in listing.items:
            self.put(snapshot)

    def last(self, uid: str) -> Iterator[tuple[S, bool]]:
        """What is known of this Job's object: itself, and whether it is gone."""
        if uid in self.there:
            yield self.there[uid], False
        elif uid in self.gone:
            yield self.gone[uid], True


_REMEMBERED = 1000
"""Objects that are gone are kept in mind for runs that start to look a moment later; this many are plenty."""


class Informer:
    """The shared watch of one namespace. Starts with its first vigil, ends after its last."""

    def __init__(self, cluster: Cluster, namespace: str, nursery: Nursery, timings: Timings) -> None:
        self._namespace = namespace
        self._nursery = nursery
        self._timings = timings
        self._vigils: dict[str, Vigil] = {}
        self._work: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._jobs = _Shelf(cluster.list_jobs, cluster.watch_jobs, lambda job: job.ref.uid, self._tell_job)
        self._pods = _Shelf(cluster.list_pods, cluster.watch_pods, lambda pod: pod.job_uid, self._tell_pod)

    @asynccontextmanager
    async def vigil(self, job: JobSnapshot, seen_at: str | None = None) -> AsyncIterator[Vigil]:
        """Keep watch over this Job, as it was seen just now, and over its Pod.

        `seen_at`: version of a list of Jobs later than this one, which had no Pod before it was created: so
        neither kind has to be listed once more.
        """
        vigil = Vigil(job)
        uid = job.ref.uid
        for last_job, gone in self._jobs.last(uid):
            vigil.learn_job(last_job, gone=gone)
        for last_pod, gone in self._pods.last(uid):
            vigil.learn_pod(last_pod, gone=gone)
        self._vigils[uid] = vigil
        try:
            async with self._starting:
                if self._work is None or self._work.done():
                    self._jobs.there[uid] = job
                    work = self._run(seen_at)
                    self._work = await self._nursery.start(work, name=f"informer {self._namespace}")
            yield vigil
        finally:
            del self._vigils[uid]
            if not self._vigils:
                self._rest()

    def _rest(self) -> None:
        """Nobody looks: stop watching and forget, since nothing keeps what is known true."""
        if self._work is not None:
            self._work.cancel()
            self._work = None
        for shelf in (self._jobs, self._pods):
            shelf.there.clear()
            shelf.gone.clear()
            shelf.silent_since = shelf.refused_since = None

    async def _run(self, seen_at: str | None) -> None:
        pods_from = None if seen_at is None else FROM_NOW
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_watching(self._jobs, seen_at), name="watch jobs")
            group.create_task(self._keep_watching(self._pods, pods_from), name="watch pods")

    async def _keep_watching(self, shelf: _Shelf[S], version: str | None) -> None:
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
                if error.status != HTTP_GONE:
                    self._unheard(shelf, error)
            await asyncio.sleep(backoff.pause())

    async def _watch_on(self, shelf: _Shelf[S], version: str, backoff: Backoff) -> None:
        """One watch after the other, as long as the server honours the version we have."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            async for event in shelf.watch(self._namespace, ALL_OURS, version):
                version = _noted(shelf, event)
                self._heard(shelf)
                if loop.time() - began >= QUICK_WATCH:
                    backoff.reset()  # only a watch that holds: lists may work where watches are refused
            if loop.time() - began < QUICK_WATCH:
                await asyncio.sleep(backoff.pause())

    def _tell_job(self, uid: str, job: JobSnapshot, gone: bool) -> None:  # noqa: FBT001
        if uid in self._vigils:
            self._vigils[uid].learn_job(job, gone=gone)

    def _tell_pod(self, uid: str, pod: PodSnapshot, gone: bool) -> None:  # noqa: FBT001
        if uid in self._vigils:
            self._vigils[uid].learn_pod(pod, gone=gone)

    def _heard(self, shelf: _Shelf[S]) -> None:
        if shelf.silent_since is not None:
            shelf.silent_since = shelf.refused_since = None
            self._tell_silence()

    def _unheard(self, shelf: _Shelf[S], error: ClusterError) -> None:
        """Out of reach is waited out; a refusal that stays is told, since nothing will be seen any more."""
        now = asyncio.get_running_loop().time()
        shelf.silent_since = shelf.silent_since if shelf.silent_since is not None else now
        if error.status not in REFUSED:
            shelf.refused_since = None
        elif shelf.refused_since is None:
            shelf.refused_since = now
        elif now - shelf.refused_since > self._timings.retry_budget:
            for vigil in self._vigils.values():
                vigil.learn_refusal(error)
        self._tell_silence()

    def _tell_silence(self) -> None:
        since = [s for s in (self._jobs.silent_since, self._pods.silent_since) if s is not None]
        for vigil in self._vigils.values():
            vigil.silent_since = min(since, default=None)


def _noted(shelf: _Shelf[S], event: Seen[S] | Bookmark) -> str:
    """Put the event where it belongs; the version from which the next watch goes on."""
    if isinstance(event, Bookmark):
        return event.resource_version
    if event.gone:
        shelf.drop(event.snapshot)
    else:
        shelf.put(event.snapshot)
    return event.snapshot.resource_version
