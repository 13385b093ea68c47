"""The Stop button of a host that hands us no signal: its API is asked by one poller for all runs (SPEC 9)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import orjson

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.http import open_session, proxy_for
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.ports import ProcessSettings

STOPPED = frozenset({"cancelled", "cancelling"})
"""Only these mean: stop it. Everything else may be stale or in passing, and would end a paid run."""
AT_ONCE = 20
"""Questions under way at the same time."""
PATIENCE = 10.0
"""Seconds for one answer; the next round asks again."""


@dataclass(eq=False, slots=True)
class _Asked:
    run_id: str
    token: str
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class HostPoller:
    """Asks the host's API about every run that has no signal. Idle, it holds nothing open."""

    def __init__(self, settings: ProcessSettings, nursery: Nursery) -> None:
        self._url = settings.env.get("PAPERCLIP_API_URL", "").rstrip("/")
        self._proxy = proxy_for(self._url, settings.env)
        self._step = settings.timings.cancel_poll
        self._nursery = nursery
        self._runs: set[_Asked] = set()
        self._work: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    def with_stop_signal(self, ctx: ExecutionContext) -> AbstractAsyncContextManager[ExecutionContext]:
        """The context with a signal: the host's own, else one that is set once the API says so."""
        if ctx.signal is not None or not self._url or ctx.auth_token is None:
            return nullcontext(ctx)
        return self._asking(ctx, _Asked(ctx.run_id, ctx.auth_token))

    @asynccontextmanager
    async def _asking(self, ctx: ExecutionContext, asked: _Asked) -> AsyncIterator[ExecutionContext]:
        with self._known(asked):
            async with self._starting:
                if self._work is None or self._work.done():
                    self._work = await self._nursery.start(self._ask_on(), name="host poller")
            yield ctx.model_copy(update={"signal": asked.stopped})

    @contextmanager
    def _known(self, asked: _Asked) -> Iterator[None]:
        self._runs.add(asked)
        try:
            yield
        finally:
            self._runs.discard(asked)
            if not self._runs and self._work is not None:
                self._work.cancel()
                self._work = None

    async def _ask_on(self) -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        async with open_session(self._proxy, total=PATIENCE) as session:
            while True:
                await asyncio.sleep(self._step)
                async with asyncio.TaskGroup() as round_:
                    for asked in tuple(self._runs):
                        round_.create_task(self._ask(session, asked, limit))

    async def _ask(self, session: aiohttp.ClientSession, asked: _Asked, limit: asyncio.Semaphore) -> None:
        url = f"{self._url}/api/heartbeat-runs/{quote(asked.run_id, safe='')}"
        headers = {"Authorization": f"Bearer {asked.token}", "Accept": "application/json"}
        async with limit:
            try:
                async with session.get(url, headers=headers, allow_redirects=False) as answer:
                    told = orjson.loads(await answer.read()) if answer.status == 200 else None
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                return  # a host that cannot be reached has not cancelled anything
        status = told.get("status") if isinstance(told, dict) else None
        if isinstance(status, str) and status in STOPPED:
            asked.stopped.set()
