"""A cluster's door at which every call is named, and at which a host process can die."""

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
"""Methods of the port that ask the API server nothing."""


class Moment(StrEnum):
    """Where in a call a process dies: nothing was sent yet, or the answer has just come."""

    BEFORE = "before"
    AFTER = "after"


Heed = Callable[[str, Moment], bool]
"""Told of each call and moment; True: the process ends here."""


class Doorway:
    """Wraps a `Cluster`. A call's name is its method, what it is about, and which one of its kind it is.

    Once dead, nothing passes any more in either direction: seen from the cluster that is a SIGKILL.
    """

    def __init__(self, cluster: Cluster, heed: Heed = lambda _call, _moment: False) -> None:
        self._cluster = cluster
        self._heed = heed
        self._counts: Counter[str] = Counter()
        self.calls: list[str] = []
        self.answered: list[str] = []
        self.died = asyncio.Event()

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._cluster, method)
        if method in NO_CALLS:
            return call
        if method == "log":
            return partial(self._reading, call)
        return partial(self._watching if method.startswith("watch_") else self._asking, method, call)

    async def _asking(self, method: str, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        name = self._enter(f"{method}{_about(method, args)}")
        try:
            return await call(*args, **more)
        finally:
            self._pass(name, Moment.AFTER)

    async def _watching(self, method: str, call: Callable[..., Any], *args: Any) -> AsyncGenerator[Any, None]:
        """Answered by its first event, or by its end."""
        name, heard = self._enter(method), False
        try:
            async with aclosing(call(*args)) as events:
                async for event in events:
                    if not heard:
                        heard = True
                        self._pass(name, Moment.AFTER)
                    self._must_live()
                    yield event
        finally:
            if not heard:
                self._note(name, Moment.AFTER)

    @asynccontextmanager
    async def _reading(self, call: Callable[..., Any], request: LogRequest) -> AsyncIterator["_Heard"]:
        name = self._enter("log followed" if request.follow else "log read")
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(call(request))
            finally:
                self._note(name, Moment.AFTER)
            self._must_live()
            yield _Heard(answer, self._must_live)

    def _enter(self, kind: str) -> str:
        self._must_live()
        self._counts[kind] += 1
        nth = self._counts[kind]
        name = kind if nth == 1 else f"{kind} ({nth})"
        self.calls.append(name)
        self._pass(name, Moment.BEFORE)
        return name

    def _pass(self, name: str, moment: Moment) -> None:
        self._note(name, moment)
        self._must_live()

    def _note(self, name: str, moment: Moment) -> None:
        if moment is Moment.AFTER:
            self.answered.append(name)
        if self._heed(name, moment):
            self.died.set()

    def _must_live(self) -> None:
        if self.died.is_set():
            raise ClusterError(None, "Dead", "this process is no more")


class _Heard:
    """An open log, as long as there is somebody to hear it."""

    def __init__(self, answer: LogBytes, must_live: Callable[[], None]) -> None:
        self._answer = answer
        self._must_live = must_live

    async def read(self) -> bytes:
        chunk = await self._answer.read()
        self._must_live()
        return chunk


def _about(method: str, args: tuple[Any, ...]) -> str:
    """Whose Lease, and how a Job is deleted; of the others there is one kind only."""
    if method in {"create_lease", "replace_lease"}:
        return f" of {args[1]['metadata']['labels'][f'{PREFIX}lease']}"
    if method in {"read_lease", "delete_lease"}:
        return f" of {args[1].split('-')[1]}"
    return f" in the {args[1].lower()}" if method == "delete_job" else ""
