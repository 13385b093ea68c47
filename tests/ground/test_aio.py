"""A crowd at the door."""

import asyncio

import pytest

from paperclip_claude_k8s.ground.aio import Admission

pytestmark = pytest.mark.looptime


async def test_so_many_are_admitted_at_once_in_the_order_they_came() -> None:
    admission, entered = Admission(2, patience=60.0), list[tuple[int, int]]()
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def visit(number: int) -> None:
        place = await admission.enter()
        entered.append((number, round(loop.time() - start)))
        await asyncio.sleep(10)
        place.leave()
        place.leave()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(visit(number))
    assert entered == [(0, 0), (1, 0), (2, 10), (3, 10), (4, 20)]


async def test_who_stays_long_makes_room_once() -> None:
    admission, loop = Admission(1, patience=5.0), asyncio.get_running_loop()
    start, entered = loop.time(), list[int]()

    async def visit(seconds: float) -> None:
        place = await admission.enter()
        entered.append(round(loop.time() - start))
        await asyncio.sleep(seconds)
        place.leave()

    async with asyncio.TaskGroup() as group:
        for seconds in (7, 4, 1, 1):
            group.create_task(visit(seconds))
    assert entered == [0, 5, 9, 10]


async def test_who_is_cancelled_at_the_door_or_inside_takes_no_room() -> None:
    admission = Admission(1, patience=60.0)

    async def visit() -> None:
        place = await admission.enter()
        try:
            await asyncio.sleep(10)
        finally:
            place.leave()

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(visit()), group.create_task(visit())
        await asyncio.sleep(1)
        second.cancel()
        first.cancel()
    async with asyncio.timeout(1):
        await admission.enter()
