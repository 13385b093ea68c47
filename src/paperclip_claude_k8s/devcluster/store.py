"""The objects, their versions, and everything that ever happened to them. All changes are synchronous."""

import asyncio
import copy
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.kinds import PODS, Kind

Object = dict[str, Any]
KEPT = 20_000
"""Changes remembered for watches; a watch from further back is answered 410."""


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    kind: Kind
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Every method either changes everything it should or raises a `Problem` and changes nothing."""

    def __init__(self) -> None:
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._version = 1
        self._history: deque[Change] = deque(maxlen=KEPT)
        self._compacted = 0
        self._moved = asyncio.Event()

    @property
    def version(self) -> int:
        return self._version

    def create(self, kind: Kind, obj: Object) -> Object:
        """Fill in what the server fills in; the name must be free."""
        obj = copy.deepcopy(obj)
        meta = obj.setdefault("metadata", {})
        key = (kind, meta.get("namespace", ""), meta["name"])
        if key in self._objects:
            raise problems.already_exists(kind.plural, kind.group, meta["name"])
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=now())
        obj.update(apiVersion=kind.api_version, kind=kind.kind)
        self._objects[key] = obj
        self._note(kind, "ADDED", obj)
        return copy.deepcopy(obj)

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        obj = self._objects.get((kind, namespace, name))
        return copy.deepcopy(obj) if obj is not None else None

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        obj = self.find(kind, namespace, name)
        if obj is None:
            raise problems.not_found(kind.plural, kind.group, name)
        return obj

    def list(self, kind: Kind, namespace: str = "") -> Iterator[Object]:
        """Every object of the kind, in all namespaces when none is named, in the order of creation."""
        for (its_kind, its_namespace, _), obj in list(self._objects.items()):
            if its_kind == kind and namespace in {"", its_namespace}:
                yield copy.deepcopy(obj)

    def update(
        self, kind: Kind, namespace: str, name: str, change: Callable[[Object], Object | None]
    ) -> Object:
        """Apply `change` to a copy, and store what comes out of it; no change makes no version."""
        before = self.get(kind, namespace, name)
        after = copy.deepcopy(before)
        after = change(after) or after
        for fixed in ("uid", "creationTimestamp", "name", "namespace"):
            if fixed in before["metadata"]:
                after["metadata"][fixed] = before["metadata"][fixed]
        if after == before:
            return before
        self._objects[kind, namespace, name] = after
        self._note(kind, "MODIFIED", after)
        doomed = after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers")
        if doomed and kind != PODS:  # the kubelet takes Pods out
            self.remove(kind, namespace, name)
        return copy.deepcopy(after)

    def remove(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Take the object out at once; None when it is not there any more."""
        obj = self._objects.pop((kind, namespace, name), None)
        if obj is not None:
            self._note(kind, "DELETED", obj)
        return obj

    # Watching -------------------------------------------------------------------------------------

    def changes_after(self, version: int) -> Iterable[Change]:
        """Raises a 410 `Problem` when that version is not remembered any more."""
        if version < self._compacted:
            raise problems.gone(version, self._compacted)
        newer: deque[Change] = deque()
        for change in reversed(self._history):
            if change.version <= version:
                break
            newer.appendleft(change)
        return newer

    def compact(self) -> None:
        """Forget the history: watches from earlier versions are answered 410."""
        self._history.clear()
        self._compacted = self._version

    def next_move(self) -> asyncio.Event:
        """Set with the next change: take it, look, then wait, and nothing slips between."""
        return self._moved

    def _note(self, kind: Kind, what: Literal["ADDED", "MODIFIED", "DELETED"], obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        if len(self._history) == KEPT:
            self._compacted = self._history[0].version
        self._history.append(Change(self._version, kind, what, copy.deepcopy(obj)))
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
