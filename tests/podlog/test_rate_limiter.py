"""The limit on log requests that all followers of a process share."""

import asyncio

import pytest

from paperclip_claude_k8s.podlog import RateLimiter


@pytest.mark.looptime
async def test_rate_limiter_bounds_many_followers_together() -> None:
    rate_limiter, turns = RateLimiter(per_second=10, burst=5), list[float]()
    start = asyncio.get_running_loop().time()

    async def take_turns() -> None:
        for _ in range(10):
            await rate_limiter.acquire()
            turns.append(asyncio.get_running_loop().time() - start)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(take_turns())
    assert sum(turn == 0 for turn in turns) == 5
    assert max(turns) == pytest.approx((200 - 5) / 10)  # 20 tasks take 10 turns each


@pytest.mark.looptime
async def test_rate_limiter_restores_only_one_burst_when_idle() -> None:
    rate_limiter = RateLimiter(per_second=1, burst=3)
    await asyncio.sleep(100)
    for waited in (0, 0, 0, 1, 1):
        before = asyncio.get_running_loop().time()
        await rate_limiter.acquire()
        assert asyncio.get_running_loop().time() - before == pytest.approx(waited)
