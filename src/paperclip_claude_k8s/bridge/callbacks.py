"""One run's word to its host: in order, each acknowledged, and never much of it on the way."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from paperclip_claude_k8s.bridge.channel import Channel, HostGone
from paperclip_claude_k8s.bridge.wire import callback

WINDOW_BYTES = 256 * 1024
"""Unacknowledged bytes of one run: some full chunks of output, so that a quick host is never waited for,
and a slow one slows the reading of its own run's log, not the pipe that all runs share."""


class HostRefused(Exception):
    """A callback of the host raised; the text is the host's."""


class Callbacks:
    """The callbacks of one call, numbered from 1."""

    def __init__(self, call: int, channel: Channel, window: int = WINDOW_BYTES) -> None:
        self._call = call
        self._channel = channel
        self._window = window
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._count = 0
        self._sizes: dict[int, int] = {}
        self._asked: dict[int, HostRefused | None] = {}
        self._refused: deque[HostRefused] = deque()
        self._gone = False

    @property
    def unacknowledged(self) -> int:
        """Bytes on the way: at most one callback more than the window."""
        return sum(self._sizes.values())

    async def tell(self, name: str, *args: Any) -> None:  # noqa: ANN401  # any JSON
        """Hand a callback over, once there is room for it.

        Raises:
            HostRefused: an earlier one was refused; this one is on its way all the same.
            HostGone: nobody listens any more.
        """
        await self._send(name, args, asked=False)
        if self._refused:
            raise self._refused.popleft()

    async def ask(self, name: str, *args: Any) -> None:  # noqa: ANN401  # any JSON
        """Hand a callback over and wait until the host has done what it does on it.

        Raises:
            HostRefused: it was refused.
            HostGone: nobody listens any more.
        """
        n = await self._send(name, args, asked=True)
        try:
            await self._until(lambda: n not in self._sizes)
        finally:
            refusal = self._asked.pop(n)
        if refusal is not None:
            raise refusal

    def late_refusals(self) -> list[HostRefused]:
        """Refusals that no later callback was there to raise; each is given once."""
        late = list(self._refused)
        self._refused.clear()
        return late

    async def settled(self) -> None:
        """Wait until every callback was acknowledged.

        Raises:
            HostGone: nobody listens any more.
        """
        await self._until(lambda: not self._sizes)

    def acknowledge(self, n: int, error: str | None) -> None:
        """The host has taken, or refused, callback `n`; an unknown one changes nothing."""
        if self._sizes.pop(n, None) is None:
            return
        if error is not None and n in self._asked:
            self._asked[n] = HostRefused(error)
        elif error is not None:
            self._refused.append(HostRefused(error))
        self._news.set()

    def host_gone(self) -> None:
        self._gone = True
        self._news.set()

    async def _send(self, name: str, args: tuple[Any, ...], *, asked: bool) -> int:
        async with self._turn:
            await self._until(lambda: self.unacknowledged < self._window)
            self._count = n = self._count + 1
            if asked:
                self._asked[n] = None
            self._sizes[n] = self._channel.write(callback(self._call, n, name, args))
            await self._channel.drained()
        return n

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            if self._gone:
                raise HostGone("the host's process is gone")
            self._news.clear()
            await self._news.wait()
