"""Ends a command that follows something as soon as nobody reads its stdout, as in `jobs -w | head -1`.

Without this check, the command would notice it only when it prints its next line, which may never come.
"""

import asyncio
import select
import sys
from collections.abc import Awaitable
from typing import TypeVar

from paperclip_claude_k8s.base.aio import exception_as_value
from paperclip_claude_k8s.cli.entry import stdout_unwritable

CHECK_INTERVAL = 0.5
"""Seconds between two checks."""
T = TypeVar("T")


async def while_stdout_is_read(work: Awaitable[T]) -> T:
    """The result of `work`. Raises what it raises, and `StdoutUnwritable` if nobody reads stdout any more."""
    async with asyncio.TaskGroup() as group:
        working = group.create_task(exception_as_value(work))
        watching = group.create_task(_wait_for_readers_end())
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        has_result = working.done()
        for task in (working, watching):
            task.cancel()
    if not has_result:
        raise stdout_unwritable(b"")
    result = working.result()
    if isinstance(result, Exception):
        raise result
    return result


async def _wait_for_readers_end() -> None:
    """Return when stdout is a pipe, socket or terminal that nobody reads any more. A file needs no reader."""
    while _has_reader():  # noqa: ASYNC110  # the kernel tells an event loop only of what can be read or written
        await asyncio.sleep(CHECK_INTERVAL)


def _has_reader() -> bool:
    if sys.stdout is None:
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are reported in any case
    return not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
