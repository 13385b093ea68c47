"""Holds the objects, their resource versions and the history of changes. All operations are synchronous."""

import asyncio
import pickle
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.kinds import PODS, Kind, Object

MAX_HISTORY = 20_000
"""Number of changes kept for watches; a watch from an older version gets status 410."""


ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    kind: Kind
    type: ChangeType
    object: Object


def now() -> str:
    """The time as the API writes it, in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _copied(obj: Object) -> Object:
    copied: Object = pickle.loads(pickle.dumps(obj, pickle.HIGHEST_PROTOCOL))  # noqa: S301  # five times as fast as deepcopy
    return copied


class Store:
    """Every method either applies its change completely or raises a `Problem` and changes nothing."""

    def __init__(self) -> None:
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._version = 1
        self._history: deque[Change] = deque(maxlen=MAX_HISTORY)
        self._compacted = 0
        """The version of the last dropped change."""
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        return self._version

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object and fill in uid, creation time and version. Raises 409 if the name is in use."""
        obj = _copied(obj)
        meta = obj.setdefault("metadata", {})
        key = (kind, meta.get("namespace", ""), meta["name"])
        if key in self._objects:
            raise problems.already_exists(kind.plural, kind.group, meta["name"])
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=now())
        obj.update(apiVersion=kind.api_version, kind=kind.kind)
        self._objects[key] = obj
        self._add_to_history(kind, "ADDED", obj)
        return _copied(obj)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        obj = self._objects.get((kind, namespace, name))
        return _copied(obj) if obj is not None else None

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        obj = self.find(kind, namespace, name)
        if obj is None:
            raise problems.not_found(kind.plural, kind.group, name)
        return obj

    def list(self, kind: Kind, namespace: str = "") -> Iterator[Object]:
        """Every object of the kind in order of creation; in all namespaces if `namespace` is empty."""
        for (obj_kind, obj_namespace, _), obj in list(self._objects.items()):
            if obj_kind == kind and namespace in {"", obj_namespace}:
                yield _copied(obj)

    def ownerless(self) -> Iterator[tuple[Kind, Object]]:
        """Every object that has owner references, but whose owners no longer exist."""
        existing = {obj["metadata"]["uid"] for obj in self._objects.values()}
        for (kind, _, _), obj in list(self._objects.items()):
            owners = obj["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in existing for owner in owners):
                yield kind, _copied(obj)

    def update(
        self, kind: Kind, namespace: str, name: str, change: Callable[[Object], Object | None]
    ) -> Object:
        """Apply `change` to a copy and store the result; an unchanged object gets no new version.

        `change` edits the copy, or returns the new object.
        """
        before = self.get(kind, namespace, name)
        after = _copied(before)
        after = change(after) or after
        for fixed in ("uid", "creationTimestamp", "name", "namespace"):
            if fixed in before["metadata"]:
                after["metadata"][fixed] = before["metadata"][fixed]
        if after == before:
            return before
        self._objects[kind, namespace, name] = after
        self._add_to_history(kind, "MODIFIED", after)
        deleted = after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers")
        if deleted and kind != PODS:  # the kubelet removes Pods
            self.remove(kind, namespace, name)
        return _copied(after)

    def remove(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Remove the object at once. Returns it, or None if it does not exist."""
        obj = self._objects.pop((kind, namespace, name), None)
        if obj is not None:
            self._add_to_history(kind, "DELETED", obj)
        return obj

    # Watching -------------------------------------------------------------------------------------

    def changes_after(self, version: int) -> Iterable[Change]:
        """The changes after `version`. Raises a 410 `Problem` if the history no longer reaches back to it."""
        if version < self._compacted:
            raise problems.gone(version, self._compacted)
        newer: deque[Change] = deque()
        for change in reversed(self._history):
            if change.version <= version:
                break
            newer.appendleft(change)
        return newer

    def compact(self) -> None:
        """Drop the history: watches from earlier versions get status 410."""
        self._history.clear()
        self._compacted = self._version

    def next_change(self) -> asyncio.Event:
        """An event that the next change sets. Get it before reading objects, so that no change is missed."""
        return self._changed

    def _add_to_history(self, kind: Kind, change: ChangeType, obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        if len(self._history) == MAX_HISTORY:
            self._compacted = self._history[0].version
        self._history.append(Change(self._version, kind, change, _copied(obj)))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
