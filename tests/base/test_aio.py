"""LaunchLimiter and PeriodicTask, on virtual time."""

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any

import pytest

from paperclip_claude_k8s.base.aio import LaunchLimiter, PeriodicTask

pytestmark = pytest.mark.looptime


async def test_launch_limiter_grants_its_permits_in_fifo_order() -> None:
    limiter, entered = LaunchLimiter(permits=2, expiry=60.0), list[tuple[int, int]]()
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def hold_permit(number: int) -> None:
        permit = await limiter.acquire()
        entered.append((number, round(loop.time() - start)))
        await asyncio.sleep(10)
        permit.release()
        permit.release()  # without effect

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(hold_permit(number))
    # number of the task, and seconds after which it got a permit
    assert entered == [(0, 0), (1, 0), (2, 10), (3, 10), (4, 20)]


async def test_launch_permit_that_expired_is_not_released_again() -> None:
    limiter, loop = LaunchLimiter(permits=1, expiry=5.0), asyncio.get_running_loop()
    start, entered = loop.time(), list[int]()

    async def hold_permit(seconds: float) -> None:
        permit = await limiter.acquire()
        entered.append(round(loop.time() - start))
        await asyncio.sleep(seconds)
        permit.release()

    async with asyncio.TaskGroup() as group:
        for seconds in (7, 4, 1, 1):
            group.create_task(hold_permit(seconds))
    # the first permit expires at 5 and is released at 7, which must not free the second one
    assert entered == [0, 5, 9, 10]


async def test_launch_permits_of_cancelled_tasks_are_released() -> None:
    limiter = LaunchLimiter(permits=1, expiry=60.0)

    async def hold_permit() -> None:
        permit = await limiter.acquire()
        try:
            await asyncio.sleep(10)
        finally:
            permit.release()

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(hold_permit()), group.create_task(hold_permit())
        await asyncio.sleep(1)
        second.cancel()
        first.cancel()
    async with asyncio.timeout(1):
        await limiter.acquire()


class Rounds:
    """Work that takes 2 s and is due again 10 s later, until it has run `times` times."""

    def __init__(self, times: int) -> None:
        self.start_times: list[int] = []
        self._times = times

    async def work(self) -> float | None:
        self.start_times.append(round(asyncio.get_running_loop().time()))
        await asyncio.sleep(2)
        return 10.0 if len(self.start_times) < self._times else None


async def test_periodic_task_repeats_after_the_returned_seconds_and_has_no_task_meanwhile() -> None:
    rounds, start = Rounds(times=3), round(asyncio.get_running_loop().time())
    async with asyncio.TaskGroup() as group:
        task = PeriodicTask(group, "rounds", rounds.work)
        task.call_in(5)
        await asyncio.sleep(10)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.sleep(60)
        task.call()
    assert [at - start for at in rounds.start_times] == [5, 17, 29, 70]  # 70: `call`


async def test_periodic_task_called_while_running_runs_once() -> None:
    rounds = Rounds(times=1)
    async with asyncio.TaskGroup() as group:
        task = PeriodicTask(group, "rounds", rounds.work)
        task.call()
        await asyncio.sleep(1)
        task.call()
    assert len(rounds.start_times) == 1


@pytest.mark.parametrize(
    "seconds", [0.0, 1.0, 5.0], ids=["before it began", "while it runs", "between two runs"]
)
async def test_cancelled_periodic_task_never_runs_again(seconds: float) -> None:
    rounds = Rounds(times=5)
    async with asyncio.TaskGroup() as group:
        task = PeriodicTask(group, "rounds", rounds.work)
        task.call()
        if seconds:
            await asyncio.sleep(seconds)
        task.cancel()
        task.call()
        await asyncio.sleep(60)
    assert len(rounds.start_times) == (1 if seconds else 0)


async def test_cancelled_periodic_task_sets_no_timer_that_would_keep_it_alive() -> None:
    rounds = Rounds(times=1)
    async with asyncio.TaskGroup() as group:
        task = PeriodicTask(group, "rounds", rounds.work)
        task.cancel()
        task.call_in(1000)
        reference = weakref.ref(task)
        del task
        gc.collect()
        assert reference() is None
    assert rounds.start_times == []


async def test_periodic_task_error_reaches_its_group() -> None:
    async def work() -> None:
        raise KeyError("bug")

    async def scope() -> None:
        async with asyncio.TaskGroup() as group:
            PeriodicTask(group, "bug", work).call()
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await scope()


async def test_early_call_of_a_periodic_task_replaces_its_timer() -> None:
    rounds, start = Rounds(times=2), round(asyncio.get_running_loop().time())
    async with asyncio.TaskGroup() as group:
        task = PeriodicTask(group, "rounds", rounds.work)
        task.call_in(60)
        task.call()
        await asyncio.sleep(200)
    assert [at - start for at in rounds.start_times] == [0, 12]


async def test_periodic_task_that_suppresses_cancellation_is_not_repeated() -> None:
    began = list[float]()

    async def work() -> float:
        began.append(asyncio.get_running_loop().time())
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(9999)
        return 10.0

    async with asyncio.TaskGroup() as group:
        task = PeriodicTask(group, "uncancellable", work)
        task.call()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(60)
    assert len(began) == 1


class EagerTaskGroup(asyncio.TaskGroup):
    """Runs a task in `create_task`, as an eager task factory does; for work that never waits."""

    def create_task(self, coro: Any, **_: Any) -> Any:
        done = asyncio.get_running_loop().create_future()
        with pytest.raises(StopIteration):
            coro.send(None)
        done.set_result(None)
        return done


async def test_periodic_task_repeats_with_an_eager_task_factory() -> None:
    began = list[float]()

    async def work() -> float:
        began.append(asyncio.get_running_loop().time())
        return 10.0

    async with EagerTaskGroup() as group:
        task = PeriodicTask(group, "rounds", work)
        task.call()
        await asyncio.sleep(35)
        task.cancel()
    assert len(began) == 4
