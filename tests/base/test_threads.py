"""Blocking calls in threads that may hang."""

import asyncio
import subprocess
import sys
import threading

import pytest

from paperclip_claude_k8s.base.threads import (
    MAX_HANGING_IN_PLACE,
    MAX_HANGING_THREADS,
    DaemonThreads,
    call_in_thread,
    place_of,
)


async def test_thread_that_hangs_is_given_up_and_blocks_nothing() -> None:
    release = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            await call_in_thread(release.wait, seconds=0.05, place="/a")
        call = call_in_thread(release.wait, seconds=60, place="/a")
        waiting = asyncio.ensure_future(call)  # noqa: TID251  # to cancel it
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await call_in_thread(lambda: 7, seconds=10, place="/a") == 7
    finally:
        release.set()


async def hang(release: threading.Event, place: str) -> None:
    with pytest.raises(TimeoutError):
        await call_in_thread(release.wait, seconds=0.001, place=place)


async def test_threads_that_hang_in_one_place_block_only_that_place() -> None:
    release = threading.Event()
    try:
        for _ in range(MAX_HANGING_IN_PLACE):
            await hang(release, "/a")
        with pytest.raises(TimeoutError):
            await call_in_thread(lambda: 7, seconds=10, place="/a")
        assert await call_in_thread(lambda: 7, seconds=10, place="/b") == 7
    finally:
        release.set()
    await asyncio.sleep(0.1)
    assert await call_in_thread(lambda: 7, seconds=10, place="/a") == 7


async def test_number_of_threads_that_hang_is_bounded() -> None:
    release = threading.Event()
    try:
        for number in range(MAX_HANGING_THREADS):
            await hang(release, f"/{number}")
        with pytest.raises(TimeoutError):
            await call_in_thread(lambda: 7, seconds=10, place="/a")
    finally:
        release.set()
    await asyncio.sleep(0.1)
    assert await call_in_thread(lambda: 7, seconds=10, place="/a") == 7


PLACES = {  # path → place
    "/proc/self/x": "/proc",
    "/": "/",
    "/x/../proc/1": "/proc",
    "proc/1": "/proc",
    "~/x": "/",
}


@pytest.mark.parametrize("path", PLACES)
def test_place_of_a_path_is_its_mount_point_whether_or_not_the_path_exists(path: str) -> None:
    assert place_of(path) == PLACES[path]


async def test_error_of_a_thread_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise LookupError("a")

    with pytest.raises(LookupError, match="a"):
        await call_in_thread(fail, seconds=10, place="/a")


@pytest.mark.looptime
async def test_virtual_time_does_not_outrun_a_thread() -> None:
    await asyncio.sleep(0.05)
    threading.Event().wait(0.6)  # real seconds, as on a slow machine
    async with asyncio.timeout(0.5):  # virtual seconds
        wait = threading.Event().wait
        assert await call_in_thread(lambda: wait(0.2) or 7, seconds=20, place="/a") == 7


async def test_daemon_threads_are_bounded_in_number_and_used_again() -> None:
    threads, seen, loop = DaemonThreads(count=2), set[int](), asyncio.get_running_loop()

    def note() -> None:
        seen.add(threading.get_ident())

    for waiting in [loop.run_in_executor(threads, note) for _ in range(20)]:
        await waiting
    assert 1 <= len(seen) <= 2


async def test_call_that_was_cancelled_while_it_waited_is_not_made() -> None:
    threads, release, loop = DaemonThreads(count=1), threading.Event(), asyncio.get_running_loop()
    calls: list[int] = []
    first = loop.run_in_executor(threads, release.wait)
    waiting = loop.run_in_executor(threads, calls.append, 1)
    waiting.cancel()
    await asyncio.sleep(0.01)
    release.set()
    assert await first
    await loop.run_in_executor(threads, calls.append, 2)
    assert calls == [2]


def test_process_ends_although_its_daemon_threads_hang() -> None:
    program = (
        "import time; from paperclip_claude_k8s.base.threads import DaemonThreads; "
        "DaemonThreads(1).submit(time.sleep, 60)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
