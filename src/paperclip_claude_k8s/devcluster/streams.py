"""Streaming responses as chunks of bytes: logs and watches."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import orjson

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.api import Api, verb_of
from paperclip_claude_k8s.devcluster.crilog import LogFile, LogOptions, read_log
from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.queries import number
from paperclip_claude_k8s.devcluster.store import Change
from paperclip_claude_k8s.devcluster.tables import table
from paperclip_claude_k8s.devcluster.target import Target

BOOKMARK_EVERY = 10.0
"""Seconds between bookmarks; a real API server sends about one a minute."""
MIN_WAIT = 0.001
"""A watch ends when fewer seconds than this are left: the clock is too coarse to wait for less."""
WATCH_SECONDS = 1800
"""Seconds that a watch lasts if the request has no `timeoutSeconds`."""
TRUE_VALUES = frozenset({"true", "1"})

Query = dict[str, str]


def open_log(api: Api, target: Target, query: Query) -> AsyncGenerator[bytes, None]:
    """A container's log. Raises a `Problem` before the first byte if it cannot be served."""
    api.check_access(target, "get")
    return _log_bytes(api, _log_of(api, target, query), _log_options(api, query))


async def _log_bytes(api: Api, log: LogFile, options: LogOptions) -> AsyncGenerator[bytes, None]:
    bytes_left = options.limit
    async for block in read_log(log, options):
        await api.faults.logs_flowing.wait()
        piece = block if bytes_left is None else block[:bytes_left]
        yield piece
        bytes_left = None if bytes_left is None else bytes_left - len(piece)
        if bytes_left == 0:
            return


def _log_of(api: Api, target: Target, query: Query) -> LogFile:
    pod = api.store.get(PODS, target.namespace, target.name)
    names = [c["name"] for c in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]]
    name = query.get("container") or names[-1]
    if name not in names:
        raise problems.bad_request(f"container {name} is not valid for pod {target.name}")
    if query.get("previous") in TRUE_VALUES:
        raise problems.bad_request(f'previous terminated container "{name}" in pod "{target.name}" not found')
    log = api.kubelet.log_of(pod["metadata"]["uid"], name)
    if log is None:
        waiting = _waiting_reason(pod, name)
        raise problems.bad_request(
            f'container "{name}" in pod "{target.name}" is waiting to start: {waiting}'
        )
    return log


def _waiting_reason(pod: dict[str, object], name: str) -> str:
    status = pod.get("status")
    for container in (status.get("containerStatuses") or []) if isinstance(status, dict) else []:
        if container["name"] == name:
            return str(container["state"].get("waiting", {}).get("reason", "ContainerCreating"))
    return "ContainerCreating"


def _log_options(api: Api, query: Query) -> LogOptions:
    query = {name: text for name, text in query.items() if name not in api.faults.ignored_log_options}
    since = query.get("sinceTime", "")
    return LogOptions(
        follow=query.get("follow") in TRUE_VALUES,
        timestamps=query.get("timestamps") in TRUE_VALUES,
        since=since[:19].encode(),  # up to the second
        tail=number(query, "tailLines"),
        limit=number(query, "limitBytes"),
        every_record=api.faults.every_record_stamped,
    )


def open_watch(
    api: Api, target: Target, query: Query, *, as_table: bool = False
) -> AsyncGenerator[bytes, None]:
    """The changes after the query's `resourceVersion`, with bookmarks between them, for `timeoutSeconds`."""
    api.check_access(target, verb_of("GET", target, watch=True))
    if target.name:
        query = {**query, "fieldSelector": f"metadata.name={target.name}"}
    return _Watch(api, target, query, as_table=as_table).events()


def _at_version(obj: dict[str, Any], version: str) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}


class _Watch:
    """One watch request."""

    def __init__(self, api: Api, target: Target, query: Query, *, as_table: bool) -> None:
        self._api = api
        self._target = target
        self._matches = api.matcher(query)
        self._shown: dict[str, dict[str, object]] = {}
        """The last matching state of each object, by uid. An object that no longer matches is reported as
        deleted, in this state."""
        self._bookmarks = query.get("allowWatchBookmarks") in TRUE_VALUES
        self._as_table = as_table
        seconds = number(query, "timeoutSeconds")
        self._seconds = WATCH_SECONDS if seconds is None else seconds
        given = {name: text for name, text in query.items() if text}  # an empty version means none
        version = number(given, "resourceVersion") or 0
        self._without_version = version == 0
        self._version = version or api.store.version
        self._closing = asyncio.Event()

    async def events(self) -> AsyncGenerator[bytes, None]:
        self._api.faults.watch_closers.add(self._closing.set)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        try:
            for event in self._existing_objects():
                yield event
            while not self._closing.is_set() and (left := deadline - loop.time()) > MIN_WAIT:
                changed = self._api.store.next_change()
                for event in self._new_events():
                    yield event
                if not await self._changed_within(changed, min(BOOKMARK_EVERY, left)) and self._bookmarks:
                    yield self._bookmark()
        except Problem as problem:
            yield orjson.dumps({"type": "ERROR", "object": problem.status()}) + b"\n"
        finally:
            self._api.faults.watch_closers.discard(self._closing.set)

    def _existing_objects(self) -> Iterator[bytes]:
        """Remember the existing objects; a watch without a version also reports them."""
        for obj in self._api.store.list(self._target.kind, self._target.namespace):
            if self._matches(obj):
                self._shown[obj["metadata"]["uid"]] = obj
                if self._without_version:
                    yield self._event("ADDED", obj)

    def _new_events(self) -> Iterator[bytes]:
        for change in self._api.store.changes_after(self._version):
            self._version = change.version
            if self._is_of_target(change):
                yield from self._events_for(change)

    def _events_for(self, change: Change) -> Iterator[bytes]:
        """As on a real server: an object that starts to match is ADDED; if it stops matching, DELETED."""
        uid = change.object["metadata"]["uid"]
        before = self._shown.pop(uid, None)
        if not self._matches(change.object):
            if before is not None:
                version = change.object["metadata"]["resourceVersion"]
                yield self._event("DELETED", _at_version(before, version))
            return
        if change.type != "DELETED":
            self._shown[uid] = change.object
        event_type = "ADDED" if before is None and change.type == "MODIFIED" else change.type
        yield self._event(event_type, change.object)

    def _is_of_target(self, change: Change) -> bool:
        namespace = self._target.namespace
        in_namespace = namespace in {"", change.object["metadata"].get("namespace", "")}
        return change.kind == self._target.kind and in_namespace

    async def _changed_within(self, changed: asyncio.Event, seconds: float) -> bool:
        """Wait for a change or for `Faults.close_watches`; False if neither happened in time."""
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                waits = [group.create_task(event.wait()) for event in (changed, self._closing)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        except TimeoutError:
            return False
        return True

    def _bookmark(self) -> bytes:
        kind = self._target.kind
        bookmark: dict[str, object] = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(self._version), "creationTimestamp": None},
        }
        return orjson.dumps({"type": "BOOKMARK", "object": bookmark}) + b"\n"

    def _event(self, event_type: str, obj: dict[str, object]) -> bytes:
        shown: object = table(self._target.kind, [obj], str(self._version)) if self._as_table else obj
        return orjson.dumps({"type": event_type, "object": shown}) + b"\n"
