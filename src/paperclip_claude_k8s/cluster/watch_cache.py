"""The last known objects of one kind, fed by a shared list and watch.

A watch with a label selector reports DELETED both for an object that was deleted and for an object that only
lost a label, and a list omits both. So an object that left the selection is kept in `departed`; only reading
it by name shows which of the two happened.

Pods are filed under the uid of the Job that created them. A Pod that the Job controller releases loses its
owner reference; it stays filed where it was first seen, or is filed by `assign`.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.cluster.model import Bookmark, JobSnapshot, Listing, PodSnapshot, WatchEvent
from paperclip_claude_k8s.cluster.port import ClusterError, Labels

S = TypeVar("S", JobSnapshot, PodSnapshot)
Change: TypeAlias = Literal["present", "missing", "deleted"]
"""present: the object is in the selection. missing: a list no longer has it. deleted: the watch reported
DELETED, with the object's last state."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_MAX_DEPARTED = 1000
"""Number of departed objects that are kept, for runs that start to watch shortly afterwards."""


def oldest_first(snapshots: Iterable[S]) -> list[S]:
    """Sort by creation time: of several Pods of a Job, the oldest is the one that runs the agent.

    Among Pods created in the same second, those that are being deleted come first.
    """
    return sorted(snapshots, key=lambda snapshot: (snapshot.created or _LONG_AGO, not snapshot.deleting))


class _List(Protocol[S]):
    async def __call__(self, namespace: str, labels: Labels) -> Listing[S]: ...


class _Watch(Protocol[S]):
    def __call__(
        self, namespace: str, labels: Labels, version: str
    ) -> AsyncIterator[WatchEvent[S] | Bookmark]: ...


@dataclass(slots=True)
class WatchCache(Generic[S]):
    """The last known objects of one kind, Jobs or Pods."""

    resource: str
    """`jobs` or `pods`, for subscribers."""
    list: _List[S]
    watch: _Watch[S]
    uid: Callable[[S], str]
    job_uid: Callable[[S], str]
    on_change: Callable[[str, S, Change], None]
    """Called with a Job's uid, one of its objects, and what happened to it."""
    present: dict[str, dict[str, S]] = field(default_factory=dict)
    """Job's uid → object's uid → object in the selection. (A Job can have several Pods.)"""
    departed: dict[str, tuple[str, S]] = field(default_factory=dict)
    """Object's uid → its Job's uid and its last state in the selection. None of these is in `present`."""
    failing_since: float | None = None
    """Loop time since which no request for this kind has succeeded; None while they succeed."""
    refused_since: float | None = None
    """Loop time since which every request has been refused with 401 or 403; None if the last one was not."""
    _job_of: dict[str, str] = field(default_factory=dict)
    """Object's uid → uid of the Job under which it is filed."""
    limits: Limits = field(default_factory=Limits)
    """`list_objects` and `list_bytes` hold for present and departed objects together."""
    _sizes: dict[str, int] = field(default_factory=dict)
    """Object's uid → its size in JSON, in bytes."""
    _bytes: int = 0
    """Sum of the sizes."""

    def put(self, snapshot: S, size: int = 0) -> None:
        """Add or replace an object. Raises `ClusterError` if the objects exceed `limits`."""
        uid = self.uid(snapshot)
        self.departed.pop(uid, None)
        self._hold(uid, size)
        job_uid = self._job_of[uid] = self._job_of.get(uid) or self.job_uid(snapshot)
        self.present.setdefault(job_uid, {})[uid] = snapshot
        self.on_change(job_uid, snapshot, "present")

    def drop(self, snapshot: S, change: Change, size: int = 0) -> None:
        """Move an object to `departed`, because it has left the selection."""
        uid = self.uid(snapshot)
        job_uid = self._job_of.pop(uid, "") or self.job_uid(snapshot)
        siblings = self.present.get(job_uid, {})
        siblings.pop(uid, None)
        if not siblings:
            self.present.pop(job_uid, None)
        self.departed[uid] = job_uid, snapshot
        self._hold(uid, size or self._sizes.get(uid, 0))
        while len(self.departed) > _MAX_DEPARTED:
            self._forget_departed()
        self.on_change(job_uid, snapshot, change)

    def _hold(self, uid: str, size: int) -> None:
        """Count an object of this size, and forget departed objects if there is no room for it.

        Raises `ClusterError` if there is no room even then.
        """
        self._bytes += size - self._sizes.get(uid, 0)
        self._sizes[uid] = size
        while self._is_full() and self.departed:
            self._forget_departed()
        if self._is_full():
            self._release(uid)
            raise ClusterError(None, "TooLarge", "the server sends more Jobs or Pods than can be watched")

    def _is_full(self) -> bool:
        return self._bytes > self.limits.list_bytes or len(self._sizes) > self.limits.list_objects

    def _forget_departed(self) -> None:
        uid = next(iter(self.departed))
        del self.departed[uid]
        self._release(uid)

    def _release(self, uid: str) -> None:
        self._bytes -= self._sizes.pop(uid, 0)

    def replace_all(self, listing: Listing[S]) -> None:
        """Apply a complete list: an object that it does not contain has left the selection."""
        listed = {self.uid(snapshot) for snapshot in listing.items}
        before = [snapshot for siblings in self.present.values() for snapshot in siblings.values()]
        for missing in [snapshot for snapshot in before if self.uid(snapshot) not in listed]:
            self.drop(missing, "missing")
        size = listing.size // max(1, len(listing.items))
        for snapshot in oldest_first(listing.items):
            self.put(snapshot, size)

    def apply(self, event: WatchEvent[S] | Bookmark) -> str:
        """Apply one event of a watch; return the version from which the next watch continues."""
        if isinstance(event, Bookmark):
            return event.resource_version
        if event.gone:
            self.drop(event.snapshot, "deleted", event.size)
        else:
            self.put(event.snapshot, event.size)
        return event.snapshot.resource_version

    def has(self, snapshot: S) -> bool:
        """Whether the object is in the selection, so that the watch reports its changes."""
        uid = self.uid(snapshot)
        return uid in self.present.get(self._job_of.get(uid, ""), {})

    def objects_of(self, job_uid: str) -> Iterator[tuple[S, Change]]:
        """The known objects of this Job: those in the selection, then those that left it."""
        for snapshot in oldest_first(self.present.get(job_uid, {}).values()):
            yield snapshot, "present"
        for owner, snapshot in tuple(self.departed.values()):  # a copy: callers may change `departed`
            if owner == job_uid:
                yield snapshot, "missing"

    def assign(self, job_uid: str, snapshot: S) -> None:
        """File a released object, whose owner reference is gone, under the Job that created it."""
        uid = self.uid(snapshot)
        earlier_job, self._job_of[uid] = self._job_of.get(uid, ""), job_uid
        found = self.present.get(earlier_job, {}).pop(uid, None)
        if found is not None:
            self.present.setdefault(job_uid, {})[uid] = found
        if self.present.get(earlier_job) == {}:
            del self.present[earlier_job]

    def clear(self) -> None:
        self.present.clear()
        self.departed.clear()
        self._job_of.clear()
        self._sizes.clear()
        self._bytes = 0
        self.failing_since = self.refused_since = None
