"""Blocking calls in threads that may hang."""

import asyncio
import threading

import pytest

from paperclip_claude_k8s.base.threads import MAX_HANGING_THREADS, call_in_thread


async def test_thread_that_hangs_is_given_up_and_blocks_nothing() -> None:
    release = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            await call_in_thread(release.wait, 0.05)
        waiting = asyncio.ensure_future(call_in_thread(release.wait, 60))  # noqa: TID251  # to cancel it
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await call_in_thread(lambda: 7, 10) == 7
    finally:
        release.set()


async def test_number_of_threads_that_hang_is_bounded() -> None:
    release = threading.Event()
    try:
        for _ in range(MAX_HANGING_THREADS):
            with pytest.raises(TimeoutError):
                await call_in_thread(release.wait, 0.001)
        with pytest.raises(TimeoutError):
            await call_in_thread(lambda: 7, 10)
    finally:
        release.set()
    await asyncio.sleep(0.1)
    assert await call_in_thread(lambda: 7, 10) == 7


async def test_error_of_a_thread_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise LookupError("a")

    with pytest.raises(LookupError, match="a"):
        await call_in_thread(fail, 10)


@pytest.mark.looptime
async def test_virtual_time_does_not_outrun_a_thread() -> None:
    await asyncio.sleep(0.05)
    threading.Event().wait(0.6)  # as on a slow machine
    async with asyncio.timeout(0.5):
        assert await call_in_thread(lambda: threading.Event().wait(0.2) or 7, 20) == 7
