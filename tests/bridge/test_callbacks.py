"""What a run tells its host: in order, acknowledged, and never much of it on the way."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from paperclip_claude_k8s.bridge.callbacks import Callbacks, HostRefused
from paperclip_claude_k8s.bridge.channel import Channel, HostGone

WINDOW = 4096


@asynccontextmanager
async def a_run() -> AsyncIterator[tuple[Callbacks, asyncio.StreamReader]]:
    """Its callbacks, and what the host reads of them."""
    (theirs, ours), (source, silent) = os.pipe(), os.pipe()
    channel = await Channel.over(os.fdopen(source, "rb", 0), os.fdopen(ours, "wb", 0))
    reader = asyncio.StreamReader()
    reading, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(theirs, "rb", 0)
    )
    try:
        yield Callbacks(7, channel, WINDOW), reader
    finally:
        channel.close()
        await channel.closed()
        reading.close()
        os.close(silent)
        await asyncio.sleep(0)


async def numbers(reader: asyncio.StreamReader, count: int) -> list[int]:
    return [json.loads(await reader.readline())["n"] for _ in range(count)]


async def test_callbacks_are_numbered_in_the_order_they_were_made() -> None:
    async with a_run() as (callbacks, reader), asyncio.TaskGroup() as group:
        for line in range(20):
            group.create_task(callbacks.send("onLog", "stdout", f"{line}\n"))
        told = [json.loads(await reader.readline()) for _ in range(20)]
        assert [(one["id"], one["n"]) for one in told] == [(7, n) for n in range(1, 21)]
        assert [one["args"][1] for one in told] == [f"{line}\n" for line in range(20)]


async def test_telling_does_not_wait_for_the_host_within_the_window() -> None:
    async with a_run() as (callbacks, _), asyncio.timeout(60):
        for _ in range(10):
            await callbacks.send("onLog", "stdout", "x\n")
        assert 0 < callbacks.unacknowledged < WINDOW


async def test_a_host_that_acknowledges_nothing_is_told_no_more_than_the_window_and_one() -> None:
    chunk = "x" * 1000
    async with a_run() as (callbacks, reader), asyncio.TaskGroup() as group:

        async def say_all() -> None:
            for _ in range(50):
                await callbacks.send("onLog", "stdout", chunk)

        saying = group.create_task(say_all())
        seen = await numbers(reader, 4)
        await asyncio.sleep(0.1)
        assert not saying.done()
        assert WINDOW <= callbacks.unacknowledged < WINDOW + 1100
        for n in range(1, 51):
            callbacks.acknowledge(n, None)
            if n + 4 <= 50:
                seen += await numbers(reader, 1)
        await saying
        await callbacks.all_acknowledged()
        assert seen == list(range(1, 51))


async def test_a_callback_above_the_window_goes_alone() -> None:
    async with a_run() as (callbacks, reader), asyncio.TaskGroup() as group:
        group.create_task(callbacks.send("onLog", "stdout", "y" * 10 * WINDOW))
        later = group.create_task(callbacks.send("onLog", "stdout", "z"))
        await numbers(reader, 1)
        await asyncio.sleep(0.05)
        assert not later.done()
        callbacks.acknowledge(1, None)
        await later


async def test_asking_waits_for_the_hosts_own_end() -> None:
    async with a_run() as (callbacks, reader), asyncio.TaskGroup() as group:
        asking = group.create_task(callbacks.send_and_wait("onDispatch"))
        await numbers(reader, 1)
        await asyncio.sleep(0.05)
        assert not asking.done()
        callbacks.acknowledge(1, None)
        await asking


async def test_who_asked_hears_of_a_refusal() -> None:
    async with a_run() as (callbacks, reader), asyncio.TaskGroup() as group:

        async def refused() -> str:
            with pytest.raises(HostRefused) as caught:
                await callbacks.send_and_wait("onDispatch")
            return str(caught.value)

        asking = group.create_task(refused())
        await numbers(reader, 1)
        callbacks.acknowledge(1, "not now")
        assert await asking == "not now"


async def test_a_refused_line_is_told_with_the_next_which_is_sent_all_the_same() -> None:
    async with a_run() as (callbacks, reader):
        await callbacks.send("onLog", "stdout", "a")
        callbacks.acknowledge(1, "disk full")
        with pytest.raises(HostRefused, match="disk full"):
            await callbacks.send("onLog", "stdout", "b")
        await callbacks.send("onLog", "stdout", "c")
        assert await numbers(reader, 3) == [1, 2, 3]


async def test_nobody_waits_for_a_host_that_is_gone() -> None:
    async with a_run() as (callbacks, _), asyncio.TaskGroup() as group:

        async def left() -> None:
            with pytest.raises(HostGone):
                await callbacks.send_and_wait("onDispatch")

        asking = group.create_task(left())
        await asyncio.sleep(0.05)
        callbacks.host_gone()
        await asking
        with pytest.raises(HostGone):
            await callbacks.all_acknowledged()


async def test_an_acknowledgement_of_nothing_changes_nothing() -> None:
    async with a_run() as (callbacks, _):
        callbacks.acknowledge(99, "what?")
        await callbacks.send("onLog", "stdout", "a")
        await callbacks.send("onLog", "stdout", "b")
