"""Wraps a cluster: records the name of every call, and kills the host process at a given one."""

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
"""Methods of the port that do not call the API server."""


class Moment(StrEnum):
    """When a process dies: before the request is sent, or after the response has arrived."""

    BEFORE = "before"
    AFTER = "after"


DiesAt = Callable[[str, Moment], bool]
"""Called for each call and moment; returns True if the process dies there."""


class TracedCluster:
    """Wraps a `Cluster`. The name of a call is its method, its object and its number among equal calls.

    After the death no call passes in either direction: for the cluster it looks like a SIGKILL.
    """

    def __init__(self, cluster: Cluster, dies_at: DiesAt = lambda _call, _moment: False) -> None:
        self._cluster = cluster
        self._dies_at = dies_at
        self._counts: Counter[str] = Counter()
        self.calls: list[str] = []
        self.answered: list[str] = []
        self.died = asyncio.Event()

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._cluster, method)
        if method in NO_CALLS:
            return call
        if method == "log":
            return partial(self._traced_log, call)
        return partial(self._traced_watch if method.startswith("watch_") else self._traced_call, method, call)

    async def _traced_call(self, method: str, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        name = self._enter(f"{method}{_about(method, args)}")
        try:
            return await call(*args, **more)
        finally:
            self._pass(name, Moment.AFTER)

    async def _traced_watch(
        self, method: str, call: Callable[..., Any], *args: Any
    ) -> AsyncGenerator[Any, None]:
        """A watch counts as answered at its first event, or at its end."""
        name, answered_once = self._enter(method), False
        try:
            async with aclosing(call(*args)) as events:
                async for event in events:
                    if not answered_once:
                        answered_once = True
                        self._pass(name, Moment.AFTER)
                    self._raise_if_dead()
                    yield event
        finally:
            if not answered_once:
                self._note(name, Moment.AFTER)

    @asynccontextmanager
    async def _traced_log(self, call: Callable[..., Any], request: LogRequest) -> AsyncIterator["_TracedLog"]:
        name = self._enter("log followed" if request.follow else "log read")
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(call(request))
            finally:
                self._note(name, Moment.AFTER)
            self._raise_if_dead()
            yield _TracedLog(answer, self._raise_if_dead)

    def _enter(self, kind: str) -> str:
        self._raise_if_dead()
        self._counts[kind] += 1
        nth = self._counts[kind]
        name = kind if nth == 1 else f"{kind} ({nth})"
        self.calls.append(name)
        self._pass(name, Moment.BEFORE)
        return name

    def _pass(self, name: str, moment: Moment) -> None:
        self._note(name, moment)
        self._raise_if_dead()

    def _note(self, name: str, moment: Moment) -> None:
        if moment is Moment.AFTER:
            self.answered.append(name)
        if self._dies_at(name, moment):
            self.died.set()

    def _raise_if_dead(self) -> None:
        if self.died.is_set():
            raise ClusterError(None, "Dead", "this process is dead")


class _TracedLog:
    """An open log, until the process dies."""

    def __init__(self, answer: LogBytes, raise_if_dead: Callable[[], None]) -> None:
        self._answer = answer
        self._raise_if_dead = raise_if_dead

    async def read(self) -> bytes:
        chunk = await self._answer.read()
        self._raise_if_dead()
        return chunk


def _about(method: str, args: tuple[Any, ...]) -> str:
    """Which Lease it is about, or how a Job is deleted; empty for other calls."""
    if method in {"create_lease", "replace_lease"}:
        return f" of {args[1]['metadata']['labels'][f'{PREFIX}lease']}"
    if method in {"read_lease", "delete_lease"}:
        return f" of {args[1].split('-')[1]}"
    return f" in the {args[1].lower()}" if method == "delete_job" else ""
