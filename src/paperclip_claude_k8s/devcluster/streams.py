"""Answers that stay open: logs and watches."""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web

from paperclip_claude_k8s.devcluster import problems
from paperclip_claude_k8s.devcluster.api import Api, verb_of
from paperclip_claude_k8s.devcluster.crilog import LogFile, Wish, read_log
from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.store import Change
from paperclip_claude_k8s.devcluster.tables import table
from paperclip_claude_k8s.devcluster.target import Target

BOOKMARK_EVERY = 10.0
"""Seconds; a real API server sends one a minute or so."""
TRUE = frozenset({"true", "1"})


async def stream_log(api: Api, target: Target, request: web.Request) -> web.StreamResponse:
    """A container's log: headers at once, then bytes as they are written."""
    api.admit(target, "get")
    log, wish = _log_of(api, target, dict(request.query)), _wish(api, dict(request.query))
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    cut = _breaker(request)
    api.mischief.streams.add(cut)
    try:
        left = wish.limit
        async for block in read_log(log, wish):
            await api.mischief.heard()
            piece = block if left is None else block[:left]
            await answer.write(piece)
            left = None if left is None else left - len(piece)
            if left == 0:
                break
        await answer.write_eof()
    except ConnectionError:
        pass  # the reader went away, or was sent away
    finally:
        api.mischief.streams.discard(cut)
    return answer


def _breaker(request: web.Request) -> Callable[[], None]:
    def cut() -> None:
        if request.transport is not None:
            request.transport.abort()

    return cut


def _log_of(api: Api, target: Target, query: dict[str, str]) -> LogFile:
    pod = api.store.get(PODS, target.namespace, target.name)
    names = [c["name"] for c in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]]
    name = query.get("container") or names[-1]
    if name not in names:
        raise problems.bad_request(f"container {name} is not valid for pod {target.name}")
    if query.get("previous") in TRUE:
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
    for told in (status.get("containerStatuses") or []) if isinstance(status, dict) else []:
        if told["name"] == name:
            return str(told["state"].get("waiting", {}).get("reason", "ContainerCreating"))
    return "ContainerCreating"


def _wish(api: Api, query: dict[str, str]) -> Wish:
    since = query.get("sinceTime", "")
    return Wish(
        follow=query.get("follow") in TRUE,
        timestamps=query.get("timestamps") in TRUE,
        since=since[:19].encode(),
        tail=int(query["tailLines"]) if "tailLines" in query else None,
        limit=int(query["limitBytes"]) if "limitBytes" in query else None,
        every_record=api.mischief.every_record_stamped,
    )


async def stream_watch(api: Api, target: Target, request: web.Request) -> web.StreamResponse:
    """Changes after a version, bookmarks between them, until the time is over."""
    api.admit(target, verb_of("GET", target, watch=True))
    query = dict(request.query)
    if target.name:
        query["fieldSelector"] = f"metadata.name={target.name}"
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    watch = _Watch(api, target, query, as_table="as=Table" in request.headers.get("Accept", ""))
    api.mischief.watches.add(watch.close)
    await answer.prepare(request)
    try:
        async with asyncio.timeout(float(query.get("timeoutSeconds", 1800))):
            await watch.feed(answer)
    except (TimeoutError, ConnectionError):
        pass
    except Problem as problem:
        await answer.write(orjson.dumps({"type": "ERROR", "object": problem.status()}) + b"\n")
    finally:
        api.mischief.watches.discard(watch.close)
    return answer


class _Watch:
    def __init__(self, api: Api, target: Target, query: dict[str, str], *, as_table: bool) -> None:
        self._api = api
        self._target = target
        self._matches = api.matches(query)
        self._bookmarks = query.get("allowWatchBookmarks") in TRUE
        self._as_table = as_table
        given = query.get("resourceVersion", "")
        self._fresh = given in {"", "0"}
        self._version = api.store.version if self._fresh else int(given)
        self._closing = asyncio.Event()

    def close(self) -> None:
        self._closing.set()

    async def feed(self, answer: web.StreamResponse) -> None:
        if self._fresh:
            for obj in self._api.store.list(self._target.kind, self._target.namespace):
                if self._matches(obj):
                    await self._write(answer, "ADDED", obj)
        while not self._closing.is_set():
            moved = self._api.store.next_move()
            for change in self._api.store.changes_after(self._version):
                self._version = change.version
                if self._concerns(change):
                    await self._write(answer, change.type, change.object)
            if not await self._rest(moved) and self._bookmarks:
                await self._bookmark(answer)

    def _concerns(self, change: Change) -> bool:
        namespace = self._target.namespace
        there = namespace in {"", change.object["metadata"].get("namespace", "")}
        return change.kind == self._target.kind and there and self._matches(change.object)

    async def _rest(self, moved: asyncio.Event) -> bool:
        """Wait for news or the end; False when it is time for a bookmark."""
        try:
            async with asyncio.timeout(BOOKMARK_EVERY), asyncio.TaskGroup() as group:
                news = group.create_task(moved.wait())
                end = group.create_task(self._closing.wait())
                await asyncio.wait([news, end], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                end.cancel()
        except TimeoutError:
            return False
        return True

    async def _bookmark(self, answer: web.StreamResponse) -> None:
        kind = self._target.kind
        mark: dict[str, object] = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(self._version), "creationTimestamp": None},
        }
        await self._write(answer, "BOOKMARK", mark)

    async def _write(self, answer: web.StreamResponse, kind: str, obj: dict[str, object]) -> None:
        shown: object = obj
        if self._as_table and kind != "BOOKMARK":
            shown = table(self._target.kind, [obj], str(self._version))
        await answer.write(orjson.dumps({"type": kind, "object": shown}) + b"\n")
