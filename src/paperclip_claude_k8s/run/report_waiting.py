"""Shows in the run's log and on the host's page that a run waits for others before it creates its Job."""

import asyncio
from collections.abc import Awaitable
from itertools import count
from typing import TypeVar

from paperclip_claude_k8s.base.aio import exception_as_value
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.run.host_callbacks import call_safely
from paperclip_claude_k8s.run.narrate import Narrator

T = TypeVar("T")
FIRST_REPORT = 1.0
"""Seconds until a wait is reported."""
PROGRESS_INTERVAL = 60.0
"""Seconds between two calls of `onRuntimeProgress` during a wait: hosts drop progress older than 90 s."""
PROGRESS_PER_LINE = 10
"""Every tenth call also writes a line into the run's log, because hosts report a run that prints nothing
for an hour."""


async def report_while_waiting(
    waiting: Awaitable[T], what: str, message: str, ctx: ExecutionContext, narrator: Narrator
) -> T:
    """The result of `waiting`. `what` names the wait in the run's log, `message` on the host's page."""
    # as during the run, hosts that keep a process id get no progress: see `keepalive`
    on_progress = ctx.on_runtime_progress if ctx.on_spawn is None else None
    progress = {"phase": "adapter_startup", "message": message}

    async def report() -> None:
        await asyncio.sleep(FIRST_REPORT)
        for minute in count():
            if minute and minute % PROGRESS_PER_LINE == 0:
                await narrator.status(f"Still waiting for {what}, for {minute} minutes so far")
            if on_progress is not None:
                await call_safely("onRuntimeProgress", lambda: on_progress(progress))
            await asyncio.sleep(PROGRESS_INTERVAL)

    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(report())
        result = await exception_as_value(waiting)
        reporting.cancel()
    if isinstance(result, Exception):
        raise result
    return result
