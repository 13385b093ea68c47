"""Callbacks of the host that may raise."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("paperclip_claude_k8s")


class HostCancelled(Exception):
    """A callback of the host was cancelled on the host's side, not by whoever waits for the run."""


@contextmanager
def host_errors_contained(on_error: Callable[[Exception], None]) -> Iterator[None]:
    """Around one call of a host's callback: what it raises is the host's bug and never ends the run.

    A `CancelledError` that nobody sent to this task is the host's as well: let through, it would end the task
    that reads the agent's log without a word.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        on_error(HostCancelled("the host cancelled what its callback waited for"))
    except Exception as error:  # noqa: BLE001  # the host's bug must not end a paid run
        on_error(error)


async def call_safely(name: str, call: Callable[[], Awaitable[None]]) -> None:
    """A callback of the host that raises is the host's bug; the run goes on."""
    with host_errors_contained(lambda error: log.warning("%s raised %r; the run goes on", name, error)):
        await call()
