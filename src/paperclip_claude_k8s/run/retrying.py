"""API calls that survive a bad minute of the API server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from paperclip_claude_k8s.base.aio import Backoff
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.ports import StatusReporter
from paperclip_claude_k8s.verdict.retry import worth_retrying

T = TypeVar("T")


class Retrier:
    """Repeats safe calls: jittered pauses, Retry-After honoured, one budget, one line per outage."""

    def __init__(self, timings: Timings, say: StatusReporter) -> None:
        self._timings = timings
        self._say = say

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` until it succeeds, is refused, or `Timings.retry_budget` is spent.

        Raises:
            ClusterError: the last one.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._timings.retry, self._timings.retry_cap)
        began, told = loop.time(), False
        while True:
            try:
                answer = await call()
            except ClusterError as error:
                pause = max(backoff.pause(), error.retry_after or 0.0)
                if not worth_retrying(error) or loop.time() - began + pause > self._timings.retry_budget:
                    raise
                if not told:
                    await self._say.warn(f"API server: {what} failed ({error}); trying again")
                    told = True
                await asyncio.sleep(pause)
            else:
                if told:
                    await self._say.warn(f"API server: {what} succeeded after {loop.time() - began:.0f}s")
                return answer
