"""Wraps a cluster: records the name of every call, and can cut the process off at a given call."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from enum import StrEnum
from functools import partial
from typing import Any

from paperclip_claude_k8s.cluster.labels import PREFIX
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError, LogBytes, LogRequest

NO_CALLS = frozenset({"close", "default_namespace"})
"""Methods of `Cluster` that do not call the API server."""


class Moment(StrEnum):
    """Before the request of a call is sent, or after the call has succeeded or failed."""

    BEFORE = "before"
    AFTER = "after"


CallHook = Callable[[str, Moment], bool]
"""Called at both moments of each call, with the call's name; True cuts the process off from then on."""


class TracedCluster:
    """Wraps a `Cluster`. The name of a call is its method, its object and its number among equal calls.

    Once the process is cut off, requests are not sent and responses are replaced by an error: for the cluster
    it looks like a SIGKILL of the process.
    """

    def __init__(self, cluster: Cluster, hook: CallHook = lambda _call, _moment: False) -> None:
        self._cluster = cluster
        self._hook = hook
        self._counts: Counter[str] = Counter()
        self.calls: list[str] = []
        """Names of all calls, in order."""
        self.finished: list[str] = []
        """Names of calls that have returned or failed, and of watches that have brought an event or ended."""
        self.cut_off = asyncio.Event()

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._cluster, method)
        if method in NO_CALLS:
            return call
        if method == "log":
            return partial(self._traced_log, call)
        return partial(self._traced_watch if method.startswith("watch_") else self._traced_call, method, call)

    async def _traced_call(self, method: str, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        name = self._enter(f"{method}{_detail_of(method, args)}")
        try:
            return await call(*args, **more)
        finally:
            self._note_and_raise_if_cut_off(name, Moment.AFTER)

    async def _traced_watch(
        self, method: str, call: Callable[..., Any], *args: Any
    ) -> AsyncGenerator[Any, None]:
        """A watch counts as finished at its first event, or at its end."""
        name, is_noted = self._enter(method), False
        try:
            async with aclosing(call(*args)) as events:
                async for event in events:
                    if not is_noted:
                        is_noted = True
                        self._note_and_raise_if_cut_off(name, Moment.AFTER)
                    self._raise_if_cut_off()
                    yield event
        finally:
            if not is_noted:
                self._note(name, Moment.AFTER)

    @asynccontextmanager
    async def _traced_log(self, call: Callable[..., Any], request: LogRequest) -> AsyncIterator["_TracedLog"]:
        name = self._enter("log followed" if request.follow else "log read")
        async with AsyncExitStack() as stack:
            try:
                log = await stack.enter_async_context(call(request))
            finally:
                self._note(name, Moment.AFTER)
            self._raise_if_cut_off()
            yield _TracedLog(log, self._raise_if_cut_off)

    def _enter(self, kind: str) -> str:
        """Begin a call: returns its name, which counts equal calls."""
        self._raise_if_cut_off()
        self._counts[kind] += 1
        nth = self._counts[kind]
        name = kind if nth == 1 else f"{kind} ({nth})"
        self.calls.append(name)
        self._note_and_raise_if_cut_off(name, Moment.BEFORE)
        return name

    def _note_and_raise_if_cut_off(self, name: str, moment: Moment) -> None:
        self._note(name, moment)
        self._raise_if_cut_off()

    def _note(self, name: str, moment: Moment) -> None:
        if moment is Moment.AFTER:
            self.finished.append(name)
        if self._hook(name, moment):
            self.cut_off.set()

    def _raise_if_cut_off(self) -> None:
        if self.cut_off.is_set():
            raise ClusterError(None, "CutOff", "this process is cut off from the API server")


class _TracedLog:
    """An open log; reading fails once the process is cut off."""

    def __init__(self, log: LogBytes, raise_if_cut_off: Callable[[], None]) -> None:
        self._log = log
        self._raise_if_cut_off = raise_if_cut_off

    async def read(self) -> bytes:
        chunk = await self._log.read()
        self._raise_if_cut_off()
        return chunk


def _detail_of(method: str, args: tuple[Any, ...]) -> str:
    """The kind of the Lease, or how the Job is deleted, as part of a call's name; empty for other methods."""
    if method in {"create_lease", "replace_lease"}:
        return f" of {args[1]['metadata']['labels'][f'{PREFIX}lease']}"
    if method in {"read_lease", "delete_lease"}:  # they are given a name: ac-KIND-…
        return f" of {args[1].split('-')[1]}"
    return f" in the {args[1].lower()}" if method == "delete_job" else ""
