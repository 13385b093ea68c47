"""Stop signals for hosts that pass none: one task polls the host's API for all such runs of the process.

The host's API reports the state of each run; `cancelling` and `cancelled` set the run's signal.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import orjson

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.http import open_session, proxy_for, read_beginning
from paperclip_claude_k8s.base.json_sizes import has_at_most
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.text import encodable
from paperclip_claude_k8s.host.context import ExecutionContext, StoppableContext
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.verdict.ending import is_cancelled

MAX_REQUESTS = 20
"""Requests in flight at a time."""
MAX_BODY_BYTES = 4 * 1024 * 1024
"""Longest response that is read: a run with its result has less than 1 MiB."""
REQUEST_TIMEOUT = 10.0
"""Seconds for one request; the next round repeats it."""


@dataclass(eq=False, slots=True)
class _PolledRun:
    run_id: str
    token: str = field(repr=False)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class HostPoller:
    """Polls the host's API for all runs without a signal; idle while there are no such runs."""

    def __init__(self, settings: ProcessSettings, nursery: Nursery) -> None:
        self._url = settings.env.get("PAPERCLIP_API_URL", "").rstrip("/")
        self._env = settings.env
        self._interval = settings.timings.cancel_poll
        self._nursery = nursery
        self._runs: set[_PolledRun] = set()
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    def with_stop_signal(self, ctx: ExecutionContext) -> AbstractAsyncContextManager[StoppableContext]:
        """The context with the host's own signal, or else with one that is set when the API reports a stop.

        The signal stays None if neither is possible: there is no API URL, or no token for it.
        """
        if ctx.signal is not None or not self._url or ctx.auth_token is None:
            return nullcontext(StoppableContext.of(ctx))
        return self._polling(ctx, _PolledRun(ctx.run_id, ctx.auth_token))

    @asynccontextmanager
    async def _polling(self, ctx: ExecutionContext, run: _PolledRun) -> AsyncIterator[StoppableContext]:
        with self._registered(run):
            async with self._starting:
                if self._task is None or self._task.done():
                    self._task = await self._nursery.start(self._poll_forever(), name="host poller")
            yield StoppableContext.of(ctx, signal=run.stopped)

    @contextmanager
    def _registered(self, run: _PolledRun) -> Iterator[None]:
        self._runs.add(run)
        try:
            yield
        finally:
            self._runs.discard(run)
            if not self._runs and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _poll_forever(self) -> None:
        limit = asyncio.Semaphore(MAX_REQUESTS)
        async with open_session(total=REQUEST_TIMEOUT) as session:
            while True:
                await asyncio.sleep(self._interval)
                async with asyncio.TaskGroup() as requests:
                    for run in tuple(self._runs):
                        requests.create_task(self._poll(session, run, limit))

    async def _poll(self, session: aiohttp.ClientSession, run: _PolledRun, limit: asyncio.Semaphore) -> None:
        url = f"{self._url}/api/heartbeat-runs/{quote(encodable(run.run_id), safe='')}"
        headers = {"Authorization": f"Bearer {run.token}", "Accept": "application/json"}
        async with limit:
            try:
                proxy = proxy_for(self._url, self._env)
                async with session.get(url, headers=headers, proxy=proxy, allow_redirects=False) as response:
                    body = orjson.loads(await _read_body(response)) if response.status == 200 else None
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                return  # the state is unknown until the next round
        status = body.get("status") if isinstance(body, dict) else None
        if is_cancelled(status):
            run.stopped.set()


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises `ValueError` if it is too long or has too many values."""
    body = await read_beginning(response.content, MAX_BODY_BYTES)
    if len(body) > MAX_BODY_BYTES:
        raise ValueError("the response is too long")
    if not has_at_most(LIMITS.response_values, body):
        raise ValueError("the response has too many values")
    return body
