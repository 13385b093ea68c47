"""Repeats API calls during a short outage of the API server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from paperclip_claude_k8s.base.aio import Backoff
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.port import ClusterError

T = TypeVar("T")


class WarningSink(Protocol):
    """Takes a warning for the user; `ports.StatusReporter` is a sink."""

    async def warn(self, text: str) -> None: ...


class Retrier:
    """Repeats idempotent calls, with jittered pauses that respect Retry-After.

    A call is repeated for `Timings.retry_budget` seconds at most. A call that had to be repeated causes two
    warnings: after its first failure, and after its success.
    """

    def __init__(self, timings: Timings, reporter: WarningSink, *, foreign_too: bool = False) -> None:
        """`foreign_too`: also repeat a call that a proxy or a web page answered, in place of the server.

        It is off before a run has a Job: such an answer then ends the run at once, with the next step for a
        person. It is on afterwards: an agent would go on working if a page that is shown for a moment
        prevented the deletion of its Job.
        """
        self._timings = timings
        self._reporter = reporter
        self._foreign_too = foreign_too

    async def __call__(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` until it succeeds. `what` names the call in warnings, e.g. "create job".

        Raises:
            ClusterError: the error of the last attempt, if it is not worth repeating or the budget is spent.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._timings.retry, self._timings.retry_cap)
        began, reported = loop.time(), False
        while True:
            try:
                result = await call()
            except ClusterError as error:
                pause = max(backoff.pause(), error.retry_after or 0.0)
                worthwhile = error.retryable or error.outrun or (self._foreign_too and error.foreign)
                if not worthwhile or loop.time() - began + pause > self._timings.retry_budget:
                    raise
                if not reported:
                    await self._reporter.warn(f"API server: {what} failed ({error}); trying again")
                    reported = True
                await asyncio.sleep(pause)
            else:
                if reported:
                    elapsed = loop.time() - began
                    await self._reporter.warn(f"API server: {what} succeeded after {elapsed:.0f}s")
                return result
