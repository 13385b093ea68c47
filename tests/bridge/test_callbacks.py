"""Callbacks that the bridge sends to the host: their order, acknowledgements, and how many may be open.

The window is a number of bytes: while as much is sent and not acknowledged, `send` waits.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from paperclip_claude_k8s.bridge.callbacks import Callbacks, HostRefused
from paperclip_claude_k8s.bridge.channel import Channel, HostGone

WINDOW = 4096
"""Size of the window of each test in bytes."""


@asynccontextmanager
async def open_callbacks() -> AsyncIterator[tuple[Callbacks, asyncio.StreamReader]]:
    """Yield the callbacks of call 7, and a reader of the host's end of the pipe."""
    (host_end, sink), (source, unused) = os.pipe(), os.pipe()
    channel = await Channel.over(os.fdopen(source, "rb", 0), os.fdopen(sink, "wb", 0))
    reader = asyncio.StreamReader()
    reading, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(host_end, "rb", 0)
    )
    try:
        yield Callbacks(7, channel, WINDOW), reader
    finally:
        channel.close()
        await channel.closed()
        reading.close()
        os.close(unused)
        await asyncio.sleep(0)


async def read_numbers(reader: asyncio.StreamReader, count: int) -> list[int]:
    return [json.loads(await reader.readline())["n"] for _ in range(count)]


async def test_callbacks_are_numbered_in_order() -> None:
    async with open_callbacks() as (callbacks, reader), asyncio.TaskGroup() as group:
        for line in range(20):
            group.create_task(callbacks.send("onLog", "stdout", f"{line}\n"))
        messages = [json.loads(await reader.readline()) for _ in range(20)]
        assert [(message["id"], message["n"]) for message in messages] == [(7, n) for n in range(1, 21)]
        assert [message["args"][1] for message in messages] == [f"{line}\n" for line in range(20)]


async def test_send_within_the_window_does_not_wait() -> None:
    async with open_callbacks() as (callbacks, _), asyncio.timeout(60):
        for _ in range(10):
            await callbacks.send("onLog", "stdout", "x\n")
        assert 0 < callbacks.unacknowledged_bytes < WINDOW


async def test_send_waits_while_the_window_is_full() -> None:
    chunk = "x" * 1000
    async with open_callbacks() as (callbacks, reader), asyncio.TaskGroup() as group:

        async def send_all() -> None:
            for _ in range(50):
                await callbacks.send("onLog", "stdout", chunk)

        sending = group.create_task(send_all())
        received = await read_numbers(reader, 4)  # four callbacks fill the window
        await asyncio.sleep(0.1)
        assert not sending.done()
        one_callback = 1100  # the size of a message with the chunk, rounded up
        assert WINDOW <= callbacks.unacknowledged_bytes < WINDOW + one_callback
        for n in range(1, 51):
            callbacks.acknowledge(n, None)
            if n + 4 <= 50:
                received += await read_numbers(reader, 1)
        await sending
        await callbacks.all_acknowledged()
        assert received == list(range(1, 51))


async def test_callback_larger_than_the_window_is_sent_alone() -> None:
    async with open_callbacks() as (callbacks, reader), asyncio.TaskGroup() as group:
        group.create_task(callbacks.send("onLog", "stdout", "y" * 10 * WINDOW))
        later = group.create_task(callbacks.send("onLog", "stdout", "z"))
        await read_numbers(reader, 1)
        await asyncio.sleep(0.05)
        assert not later.done()
        callbacks.acknowledge(1, None)
        await later


async def test_send_and_wait_returns_after_the_acknowledgement() -> None:
    async with open_callbacks() as (callbacks, reader), asyncio.TaskGroup() as group:
        waiting = group.create_task(callbacks.send_and_wait("onDispatch"))
        await read_numbers(reader, 1)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        callbacks.acknowledge(1, None)
        await waiting


async def test_send_and_wait_raises_a_refusal() -> None:
    async with open_callbacks() as (callbacks, reader), asyncio.TaskGroup() as group:

        async def refused() -> str:
            with pytest.raises(HostRefused) as caught:
                await callbacks.send_and_wait("onDispatch")
            return str(caught.value)

        waiting = group.create_task(refused())
        await read_numbers(reader, 1)
        callbacks.acknowledge(1, "not now")
        assert await waiting == "not now"


async def test_send_after_a_refusal_raises_it_but_sends_its_own_callback() -> None:
    async with open_callbacks() as (callbacks, reader):
        await callbacks.send("onLog", "stdout", "a")
        callbacks.acknowledge(1, "disk full")
        with pytest.raises(HostRefused, match="disk full"):
            await callbacks.send("onLog", "stdout", "b")
        await callbacks.send("onLog", "stdout", "c")
        assert await read_numbers(reader, 3) == [1, 2, 3]


async def test_waiting_for_a_host_that_has_exited_raises_host_gone() -> None:
    async with open_callbacks() as (callbacks, _), asyncio.TaskGroup() as group:

        async def host_gone() -> None:
            with pytest.raises(HostGone):
                await callbacks.send_and_wait("onDispatch")

        waiting = group.create_task(host_gone())
        await asyncio.sleep(0.05)
        callbacks.host_gone()
        await waiting
        with pytest.raises(HostGone):
            await callbacks.all_acknowledged()


async def test_acknowledgement_of_an_unknown_callback_is_ignored() -> None:
    async with open_callbacks() as (callbacks, _):
        callbacks.acknowledge(99, "what?")
        await callbacks.send("onLog", "stdout", "a")
        await callbacks.send("onLog", "stdout", "b")
