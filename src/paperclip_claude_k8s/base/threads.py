"""Blocking calls that may hang, such as those on a network volume.

The threads of `asyncio.to_thread` are few, and the process waits for them when it ends. System calls that
hang would therefore block other calls and the end of the process. `call_in_thread` starts a daemon thread for
each call, and no longer waits for a thread that hangs.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_HANGING_THREADS = 16
"""Most threads that may hang at the same time; each costs a stack and perhaps a descriptor."""
_hanging: set[threading.Thread] = set()


async def call_in_thread(work: Callable[[], T], seconds: float) -> T:
    """Call a blocking function in a thread, and give up after `seconds` of real time.

    Raises:
        TimeoutError: `work` has not returned in time; or too many earlier calls hang, so it was not called.
    """
    for earlier in [thread for thread in _hanging if not thread.is_alive()]:
        _hanging.discard(earlier)
    if len(_hanging) >= MAX_HANGING_THREADS:
        raise TimeoutError
    call = _Call(work)
    thread = threading.Thread(target=call.run, daemon=True)
    timer = threading.Timer(seconds, call.give_up)  # not of the loop, whose clock may be another in tests
    timer.daemon = True
    thread.start()
    timer.start()
    try:
        return await call.outcome
    except (TimeoutError, asyncio.CancelledError):
        _hanging.add(thread)
        raise
    finally:
        timer.cancel()


class _Call(Generic[T]):
    """One call and its outcome, which is set from other threads."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        try:
            result = self._work()
        except Exception as error:  # noqa: BLE001  # raised where the call is awaited
            self._post(partial(self._fail, error))
        else:
            self._post(partial(self._succeed, result))

    def give_up(self) -> None:
        self._post(partial(self._fail, TimeoutError()))

    def _post(self, settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)

    def _succeed(self, result: T) -> None:
        if not self.outcome.done():
            self.outcome.set_result(result)

    def _fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
