"""The few asyncio building blocks that the package needs besides TaskGroup and timeout."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


def loop_time() -> float:
    """The running event loop's clock, in seconds: monotonic, with an arbitrary origin."""
    return asyncio.get_running_loop().time()


async def exception_as_value(work: Awaitable[T]) -> T | Exception:
    """Return an exception instead of raising it: a TaskGroup would wrap it in an ExceptionGroup."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001  # the caller raises it outside of its TaskGroup
        return error


class FirstResult(Generic[T]):
    """A value that can be set once; later offers are ignored. Any number of tasks may wait for it."""

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def offer(self, value: T) -> None:
        if not self._future.done():
            self._future.set_result(value)

    def is_set(self) -> bool:
        return self._future.done()

    async def wait(self) -> T:
        return await asyncio.shield(self._future)  # one cancelled waiter must not cancel the others


class PeriodicTask:
    """Runs `work` on demand or after a delay, never twice at once; holds no task while idle.

    A sleeping task costs 2 kB and twenty objects for the garbage collector; a timer is cheaper.
    """

    def __init__(
        self, group: asyncio.TaskGroup, name: str, work: Callable[[], Awaitable[float | None]]
    ) -> None:
        """`work` runs in `group`. It returns the seconds until its next run, or None to set no timer."""
        self._group = group
        self._name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelled = False

    def call(self) -> None:
        """Start `work` now, unless it is running or `cancel` was called."""
        if self._task is None and not self._cancelled:
            task = self._group.create_task(self._run(), name=self._name)
            self._task = None if task.done() else task  # already done under an eager task factory

    def call_in(self, seconds: float) -> None:
        """Start `work` after `seconds`, unless it is running then, or `cancel` was called.

        Replaces an earlier timer.
        """
        if self._timer is not None:
            self._timer.cancel()
        if not self._cancelled:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.call)

    def cancel(self) -> None:
        """Never start `work` again; cancel it if it is running."""
        self._cancelled = True
        for pending in (self._task, self._timer):
            if pending is not None:
                pending.cancel()
        self._task = self._timer = None  # a cancelled task would keep this object in memory

    async def _run(self) -> None:
        pause = await self._work()
        self._task = None
        if pause is not None and not self._cancelled:
            self.call_in(pause)


class LaunchLimiter:
    """A FIFO semaphore whose permits expire, because a launch that takes long mostly waits and uses no CPU.

    Without a limit, all launches of a burst would share the CPU, and even the first would finish late.
    """

    def __init__(self, permits: int, expiry: float) -> None:
        """`permits`: how many may be held at a time. `expiry`: seconds after which a permit expires."""
        self._semaphore = asyncio.Semaphore(permits)
        self._expiry = expiry

    async def acquire(self) -> "Permit":
        """Wait for a permit."""
        await self._semaphore.acquire()
        return Permit(self._semaphore, self._expiry)


class Permit:
    """A permit to launch. It ends with `release` (idempotent), at the end of a `with` block, or on expiry."""

    def __init__(self, semaphore: asyncio.Semaphore, expiry: float) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore
        self._timer = asyncio.get_running_loop().call_later(expiry, self.release)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        semaphore, self._semaphore = self._semaphore, None
        if semaphore is not None:
            self._timer.cancel()
            semaphore.release()


class Nursery:
    """The parent of tasks that outlive a single run, such as a shared watch.

    A library has no main task to own a TaskGroup, so a root task is started with the first child and ends
    with the last one: an idle process has no tasks.
    """

    def __init__(self) -> None:
        self._root: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._children: set[asyncio.Task[Any]] = set()
        self._opened = asyncio.Event()
        self._empty = asyncio.Event()

    async def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` in the background until it ends, is cancelled, or `close` is called.

        An exception is logged and ends only this task: the others serve other runs.
        """
        if self._root is None or self._root.done() or self._empty.is_set():
            self._opened, self._empty = asyncio.Event(), asyncio.Event()
            root = self._run_root(self._opened, self._empty)
            # Without context variables: this task works for all runs, and would get those of the first run.
            self._root = asyncio.create_task(root, name="nursery", context=Context())  # noqa: TID251  # the parent of all others
        await self._opened.wait()
        assert self._group is not None  # noqa: S101  # set before `_opened`
        child = self._group.create_task(_log_failure(work, name), name=name, context=Context())
        self._children.add(child)
        child.add_done_callback(partial(self._on_child_done, work))
        return child

    async def close(self) -> None:
        """Cancel every child and wait until all have ended."""
        root = self._root
        for child in tuple(self._children):
            child.cancel()
        if root is not None:
            await asyncio.wait([root])

    async def _run_root(self, opened: asyncio.Event, empty: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            opened.set()
            await empty.wait()

    def _on_child_done(self, work: Coroutine[Any, Any, None], child: "asyncio.Task[Any]") -> None:
        work.close()  # the coroutine has not begun if the task was cancelled first; otherwise no effect
        self._children.discard(child)
        if not self._children:
            self._empty.set()


async def _log_failure(work: Coroutine[Any, Any, None], name: str) -> None:
    """Await the work. An exception is logged, because in a TaskGroup it would cancel all other tasks."""
    try:
        await work
    except Exception as error:  # noqa: BLE001  # logged
        _log.error("A bug in the adapter: the background task %r ended", name, exc_info=error)


def jittered(seconds: float, share: float = 0.25) -> float:
    """`seconds`, plus or minus up to `share` of them at random, so that many clients do not act in step."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311  # not for secrets


class Backoff:
    """Pauses in seconds, from `first`, multiplied by `factor` each time up to `cap`. `reset` starts over.

    `jitter`: the largest share by which a pause is shortened at random.
    """

    def __init__(self, first: float, cap: float, *, factor: float = 2.0, jitter: float = 0.5) -> None:
        self._first = first
        self._cap = cap
        self._factor = factor
        self._jitter = jitter
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def pause(self) -> float:
        """The next pause in seconds."""
        step, self._next = self._next, min(self._next * self._factor, self._cap)
        return random.uniform(step * (1 - self._jitter), step)  # noqa: S311  # not for secrets
