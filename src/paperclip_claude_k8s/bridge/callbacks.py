"""The callbacks of one call from the host: sent in order, each acknowledged by the host.

The window limits the bytes of unacknowledged callbacks. `send` only waits while the window is full, so a fast
host never delays a run. A slow host slows down the reading of the run's log, but the callbacks do not fill
the pipe that all runs share.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from paperclip_claude_k8s.bridge.channel import Channel, HostGone
from paperclip_claude_k8s.bridge.wire import callback

WINDOW_BYTES = 256 * 1024
"""Size of the window: no callback begins while so many bytes of a call are unacknowledged."""


class HostRefused(Exception):
    """A callback raised an exception in the host; the text is that of the exception."""


class Callbacks:
    """Sends the callbacks of one call, numbered from 1. `window`: see `WINDOW_BYTES`."""

    def __init__(self, call: int, channel: Channel, window: int = WINDOW_BYTES) -> None:
        self._call = call
        self._channel = channel
        self._window = window
        self._sending = asyncio.Lock()
        self._changed = asyncio.Event()
        self._count = 0
        self._sizes: dict[int, int] = {}
        """Bytes of each unacknowledged callback."""
        self._awaited: dict[int, HostRefused | None] = {}
        """Callbacks that `send_and_wait` waits for; None: not refused so far."""
        self._refused: deque[HostRefused] = deque()
        """Refusals of all other callbacks, until a later `send` raises them."""
        self._gone = False

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes of callbacks that the host has not acknowledged: at most the window and one callback."""
        return sum(self._sizes.values())

    async def send(self, name: str, *args: Any) -> None:  # noqa: ANN401  # any JSON
        """Send a callback as soon as the window has room.

        Raises:
            HostRefused: the host refused an earlier callback; this one is sent all the same.
            HostGone: the host's process is gone.
        """
        await self._send(name, args, awaited=False)
        if self._refused:
            raise self._refused.popleft()

    async def send_and_wait(self, name: str, *args: Any) -> None:  # noqa: ANN401  # any JSON
        """Send a callback and wait until the host has finished it.

        Raises:
            HostRefused: the host refused this callback.
            HostGone: the host's process is gone.
        """
        n = await self._send(name, args, awaited=True)
        try:
            await self._wait_until(lambda: n not in self._sizes)
        finally:
            refusal = self._awaited.pop(n)
        if refusal is not None:
            raise refusal

    def take_refusals(self) -> list[HostRefused]:
        """Return and remove the refusals that no later `send` has raised."""
        late = list(self._refused)
        self._refused.clear()
        return late

    async def all_acknowledged(self) -> None:
        """Wait until the host has acknowledged every callback.

        Raises:
            HostGone: the host's process is gone.
        """
        await self._wait_until(lambda: not self._sizes)

    def acknowledge(self, n: int, error: str | None) -> None:
        """Record that the host finished callback `n`, or refused it with `error`. Ignores an unknown `n`."""
        if self._sizes.pop(n, None) is None:
            return
        if error is not None and n in self._awaited:
            self._awaited[n] = HostRefused(error)
        elif error is not None:
            self._refused.append(HostRefused(error))
        self._changed.set()

    def host_gone(self) -> None:
        """Record that the host's process is gone: every wait for an acknowledgement raises HostGone."""
        self._gone = True
        self._changed.set()

    async def _send(self, name: str, args: tuple[Any, ...], *, awaited: bool) -> int:
        async with self._sending:  # one at a time, so that numbers and lines have the same order
            await self._wait_until(lambda: self.unacknowledged_bytes < self._window)
            self._count = n = self._count + 1
            if awaited:
                self._awaited[n] = None
            self._sizes[n] = self._channel.write(callback(self._call, n, name, args))
            await self._channel.drained()
        return n

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._gone:
                raise HostGone("the host's process is gone")
            self._changed.clear()
            await self._changed.wait()
