"""Blocking calls that may hang, such as those on a network volume.

The threads of `asyncio.to_thread` are few, and the process waits for them when it ends. System calls that
hang would therefore block other calls and the end of the process. `call_in_thread` starts a daemon thread for
each call, and stops waiting for it after a time limit. `DaemonThreads` is for frequent calls.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from paperclip_claude_k8s.base.settings import LIMITS

P = ParamSpec("P")
T = TypeVar("T")
MAX_HANGING_THREADS = 128
"""Largest number of threads that may hang at the same time; each costs a stack and perhaps a descriptor."""
MAX_HANGING_IN_PLACE = 16
"""Largest number of threads that may hang in one place, such as a mount point. So a volume that hangs does
not keep other runs from reading their files."""
_hanging: dict[threading.Thread, str] = {}
"""Thread of a call that was given up → the place in which it hangs."""


def place_of(path: str) -> str:
    """The mount point above a path, by its text: no part of the path is read, since that could hang.

    Of a path that is too long for the kernel, only the beginning is examined.
    """
    home = os.environ.get("HOME", "/")
    absolute = f"{home}/{path[1:]}" if path.startswith("~") else path
    part = os.path.normpath(f"/{absolute[: LIMITS.path_bytes].lstrip('/')}")
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    points = {line.split(" ", 5)[4] for line in mounts}
    while part not in points and part != "/":
        part = os.path.dirname(part)  # noqa: PTH120  # a Path would copy all parts each time
    return part


async def call_in_thread(work: Callable[[], T], seconds: float, place: str) -> T:
    """Call a blocking function in a thread, and give up after `seconds`.

    `place`: what `work` may wait for, such as a mount point; see `MAX_HANGING_IN_PLACE`.

    The call is made by `run_in_executor`. So a loop with virtual time, as in tests, registers the call, and
    does not jump to the next timer while the thread works.

    Raises:
        TimeoutError: `work` has not returned in time, or was not called because too many earlier calls hang.
    """
    for ended in [thread for thread in _hanging if not thread.is_alive()]:
        del _hanging[ended]
    in_place = sum(place == other for other in _hanging.values())
    if len(_hanging) >= MAX_HANGING_THREADS or in_place >= MAX_HANGING_IN_PLACE:
        raise TimeoutError
    executor = _ThreadPerCall()
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().run_in_executor(executor, work)
    except (TimeoutError, asyncio.CancelledError):
        _hanging.update(dict.fromkeys(executor.threads, place))
        raise


class _ThreadPerCall(Executor):
    """Calls each function in a daemon thread of its own, for which nobody waits when the process ends."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()
        outcome.set_running_or_notify_cancel()  # from now on, only the thread settles it
        call = partial(_settle, outcome, partial(work, *args, **kwargs))
        self.threads.append(threading.Thread(target=call, daemon=True))
        self.threads[-1].start()
        return outcome


class DaemonThreads(Executor):
    """A few daemon threads for frequent calls. Unlike a `ThreadPoolExecutor`, it does not delay exit."""

    def __init__(self, count: int) -> None:
        self._calls = queue.SimpleQueue[Callable[[], None]]()
        self._not_started = count
        self._idle = threading.Semaphore(0)
        """Counts the threads that wait for a call, as long as not all threads have been started."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()
        self._calls.put(partial(_settle_unless_cancelled, outcome, partial(work, *args, **kwargs)))
        if self._not_started and not self._idle.acquire(blocking=False):
            self._not_started -= 1
            threading.Thread(target=self._work, daemon=True).start()
        return outcome

    def _work(self) -> None:
        while True:
            self._calls.get()()
            self._idle.release()


def _settle_unless_cancelled(outcome: Future[T], work: Callable[[], T]) -> None:
    """Call the function unless the call was cancelled while it waited for a thread."""
    if outcome.set_running_or_notify_cancel():
        _settle(outcome, work)


def _settle(outcome: Future[T], work: Callable[[], T]) -> None:
    """Call the function, and set `outcome` to its result or exception."""
    try:
        result = work()
    except Exception as error:  # noqa: BLE001  # raised where the call is awaited
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
