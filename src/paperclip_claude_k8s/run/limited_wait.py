"""The wait for what a Pod reports after its agent has ended: pushed commits, or changes in its folder."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.host.context import StopSignal
from paperclip_claude_k8s.run.host_callbacks import wait_for_stop
from paperclip_claude_k8s.run.live_run import LiveRun

STOPPED_WAIT = 5.0
"""Seconds to wait for the report of a stopped agent, whose Pod is gone soon.

The same limit applies if the host stops the run after the agent's end, because the host then waits for the
result.
"""


@asynccontextmanager
async def limited_wait(run: LiveRun, seconds: float) -> AsyncIterator[None]:
    """Leave the block after `seconds`, and sooner for a stopped run.

    If this process has stopped the agent before, for whatever reason, the block may take `STOPPED_WAIT`. If
    the host stops the run during the block, the rest of the block may take `STOPPED_WAIT`.
    """
    limit = STOPPED_WAIT if run.stop_reason is not None else seconds
    with suppress(TimeoutError):
        async with asyncio.timeout(limit) as wait:
            if run.ctx.signal is not None:
                run.start_task("stop of the wait", _shorten(wait, run.ctx.signal))
            yield
    # Before anything is awaited: otherwise `_shorten` might reschedule a timeout that is over, which raises.
    run.cancel_watchers()  # only `_shorten` can still run


async def _shorten(wait: asyncio.Timeout, signal: StopSignal) -> None:
    """End the wait soon after the host has stopped the run. Until the Pod is deleted, it may still report."""
    await wait_for_stop(signal)
    if not wait.expired():
        wait.reschedule(min(wait.when() or math.inf, loop_time() + STOPPED_WAIT))
