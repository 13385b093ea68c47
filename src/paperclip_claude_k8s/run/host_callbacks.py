"""Calls to the host's callbacks, whose exceptions must not end a run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from paperclip_claude_k8s.host.context import StopSignal

log = logging.getLogger(__name__)


class HostCancelled(Exception):
    """A callback was cancelled by the host, not by the cancellation of our own task."""


@contextmanager
def catch_host_errors(on_error: Callable[[Exception], None]) -> Iterator[None]:
    """For one call of a host's callback: an exception is passed to `on_error`, and not raised.

    This includes a `CancelledError` that was not sent to the current task: it comes from the callback, and
    would silently end the task that reads the agent's log.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        on_error(HostCancelled("the host cancelled its callback"))
    except Exception as error:  # noqa: BLE001  # a bug of the host must not end a paid run
        on_error(error)


async def wait_for_stop(signal: StopSignal) -> None:
    """Wait until the host stops the run. If the host's signal fails, this is logged, and the run goes on."""
    with catch_host_errors(lambda error: log.warning("signal.wait raised %r; the run goes on", error)):
        await signal.wait()
        return
    # The signal has failed, so no stop ever comes. If the exception replaced a cancellation of this task,
    # the task must end.
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        await asyncio.Event().wait()  # never returns


async def call_safely(name: str, call: Callable[[], Awaitable[None]]) -> None:
    """Call a callback of the host. An exception is logged, and the run goes on."""
    with catch_host_errors(lambda error: log.warning("%s raised %r; the run goes on", name, error)):
        await call()
