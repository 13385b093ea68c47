"""The last known objects of one kind, as a shared list+watch told of them."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from paperclip_claude_k8s.cluster.model import Bookmark, JobSnapshot, Listing, PodSnapshot, Seen
from paperclip_claude_k8s.cluster.port import Labels

S = TypeVar("S", JobSnapshot, PodSnapshot)
Told: TypeAlias = Literal["shown", "missing", "deleted"]
"""The watch shows the object, a list had it no more, or the watch said DELETED with its last state."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_REMEMBERED = 1000
"""Objects that left are kept in mind for runs that start to look a moment later; this many are plenty."""


def oldest_first(snapshots: Iterable[S]) -> list[S]:
    """A list comes in the order of names, but the Pod that was made first is the one that works."""
    return sorted(snapshots, key=lambda one: (one.created or _LONG_AGO, not one.deleting))


class _List(Protocol[S]):
    async def __call__(self, namespace: str, labels: Labels) -> Listing[S]: ...


class _Watch(Protocol[S]):
    def __call__(self, namespace: str, labels: Labels, version: str) -> AsyncIterator[Seen[S] | Bookmark]: ...


@dataclass(slots=True)
class WatchCache(Generic[S]):
    """The last known objects of one kind; some that left the selection stay in mind."""

    list: _List[S]
    watch: _Watch[S]
    uid: Callable[[S], str]
    job_uid: Callable[[S], str]
    tell: Callable[[str, S, Told], None]
    """Called with a Job's uid, one of its objects, and how it was told of."""
    there: dict[str, dict[str, S]] = field(default_factory=dict)
    """Job's uid → object's uid → object. A Job can have several Pods."""
    left: dict[str, tuple[str, S]] = field(default_factory=dict)
    """Object's uid → its Job's uid and itself as it was last."""
    silent_since: float | None = None
    """When the server stopped answering about these, for whatever reason."""
    refused_since: float | None = None
    """Since when every answer has been a refusal."""
    _job_of: dict[str, str] = field(default_factory=dict)
    """Object's uid → Job's uid as it was first: a Pod that is released names its Job no more."""

    def put(self, snapshot: S) -> None:
        uid = self.uid(snapshot)
        job_uid = self._job_of[uid] = self._job_of.get(uid) or self.job_uid(snapshot)
        self.there.setdefault(job_uid, {})[uid] = snapshot
        self.tell(job_uid, snapshot, "shown")

    def drop(self, snapshot: S, told: Told) -> None:
        uid = self.uid(snapshot)
        job_uid = self._job_of.pop(uid, "") or self.job_uid(snapshot)
        siblings = self.there.get(job_uid, {})
        siblings.pop(uid, None)
        if not siblings:
            self.there.pop(job_uid, None)
        self.left[uid] = job_uid, snapshot
        while len(self.left) > _REMEMBERED:
            del self.left[next(iter(self.left))]
        self.tell(job_uid, snapshot, told)

    def replace_all(self, listing: Listing[S]) -> None:
        """A list is complete: what was there before and is not in it has left the selection."""
        found = {self.uid(snapshot) for snapshot in listing.items}
        before = [snapshot for siblings in self.there.values() for snapshot in siblings.values()]
        for missing in [snapshot for snapshot in before if self.uid(snapshot) not in found]:
            self.drop(missing, "missing")
        for snapshot in oldest_first(listing.items):
            self.put(snapshot)

    def shows(self, snapshot: S) -> bool:
        """Whether the watch tells of this object's changes at this moment."""
        uid = self.uid(snapshot)
        return uid in self.there.get(self._job_of.get(uid, ""), {})

    def last(self, job_uid: str) -> Iterator[tuple[S, Told]]:
        """What is known of this Job's objects: each itself, and whether it is still in the selection."""
        for snapshot in oldest_first(self.there.get(job_uid, {}).values()):
            yield snapshot, "shown"
        for of_job, snapshot in tuple(self.left.values()) if self.left else ():
            if of_job == job_uid:
                yield snapshot, "missing"

    def claim(self, job_uid: str, snapshot: S) -> None:
        """File a released object, which names no Job any more, with the one it was made for."""
        uid = self.uid(snapshot)
        before, self._job_of[uid] = self._job_of.get(uid, ""), job_uid
        shown = self.there.get(before, {}).pop(uid, None)
        if shown is not None:
            self.there.setdefault(job_uid, {})[uid] = shown
        if not self.there.get(before, True):
            del self.there[before]

    def forget(self) -> None:
        self.there.clear()
        self.left.clear()
        self._job_of.clear()
        self.silent_since = self.refused_since = None


def noted(shelf: WatchCache[S], event: Seen[S] | Bookmark) -> str:
    """Put the event where it belongs; the version from which the next watch goes on."""
    if isinstance(event, Bookmark):
        return event.resource_version
    if event.gone:
        shelf.drop(event.snapshot, "deleted")
    else:
        shelf.put(event.snapshot)
    return event.snapshot.resource_version
