"""A room for bytes is shared by several tasks, in the order in which they ask."""

import asyncio

import pytest

from paperclip_claude_k8s.base.room import Room, Share

pytestmark = pytest.mark.looptime


async def test_shares_are_granted_until_the_room_is_full() -> None:
    room = Room(limit=10)
    first, second = await room.take(6), await room.take(4)
    assert not room.has_space(1)
    first.release()
    first.release()  # without effect
    assert (room.used, room.has_space(6), room.has_space(7)) == (4, True, False)
    second.release()
    assert room.used == 0


async def test_small_share_does_not_overtake_a_large_one() -> None:
    room, order = Room(limit=10), list[int]()

    async def use(size: int) -> None:
        with await room.take(size):
            order.append(size)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for size in (6, 8, 1):
            group.create_task(use(size))
            await asyncio.sleep(0)
        assert (room.used, room.has_space(1)) == (6, False)
    assert order == [6, 8, 1]
    assert room.used == 0


async def test_share_above_the_limit_waits_for_the_whole_room() -> None:
    room = Room(limit=10)
    async with asyncio.TaskGroup() as group:
        with await room.take(1):
            waiting = group.create_task(room.take(11))
            await asyncio.sleep(1)
            assert not waiting.done()
    with waiting.result():
        assert room.used == 11


async def test_space_that_a_share_does_not_need_goes_to_the_next_task() -> None:
    room = Room(limit=10)
    share = await room.take(10)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(room.take(5))
        share.shrink(7)
        await asyncio.sleep(1)
        assert not waiting.done()
        share.shrink(5)
    share.shrink(9)  # without effect: it has 5
    assert room.used == 10


@pytest.mark.parametrize("granted", [False, True])
async def test_cancelled_wait_takes_no_room(*, granted: bool) -> None:
    room = Room(limit=10)
    share = await room.take(10)
    async with asyncio.TaskGroup() as group:
        large, small = (group.create_task(room.take(size)) for size in (8, 2))
        await asyncio.sleep(0)
        if granted:
            share.release()
        large.cancel()
        await asyncio.wait([large])
        share.release()
    with small.result():
        assert room.used == 2
    assert room.used == 0


async def test_share_that_is_taken_now_does_not_wait_and_may_exceed_the_limit() -> None:
    room = Room(limit=10)
    with room.take_now(30):
        assert (room.used, room.has_space(1)) == (30, False)
    assert room.used == 0


async def test_share_that_was_handed_over_outlives_its_block() -> None:
    room = Room(limit=10)
    with await room.take(3) as share:
        kept = share.hand_over()
    assert room.used == 3
    kept.release()
    with Share() as empty:
        empty.shrink(0)
        empty.hand_over().release()
    assert room.used == 0
