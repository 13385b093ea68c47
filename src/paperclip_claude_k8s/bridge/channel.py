"""Lines in, lines out: the two pipes to the peer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any

from paperclip_claude_k8s.bridge.wire import encode

LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read: a context holds a conversation, not tens of megabytes."""


class HostGone(ConnectionError):
    """The peer cannot be told anything any more."""


class LineTooLong(Exception):
    """A line above `LINE_BYTES`; what follows cannot be told apart from its rest."""


class Channel:
    """Both directions. Writing is immediate and in order; `drained` waits while the pipe is full."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: asyncio.ReadTransport
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._source = source

    @classmethod
    async def over(cls, source: IO[bytes], sink: IO[bytes]) -> "Channel":
        """Over two pipes or sockets.

        Raises:
            ValueError: one of them is a regular file.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, None, loop), reading)

    async def lines(self) -> AsyncIterator[bytes]:
        """Every whole line until the peer closes; one it was cut off in is dropped.

        Raises:
            LineTooLong: see there.
        """
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                raise LineTooLong(f"a line is longer than {LINE_BYTES} bytes") from None
            except OSError:
                return
            if not line.endswith(b"\n"):
                return
            if line.strip():
                yield line

    def write(self, message: Mapping[str, Any]) -> int:
        """Hand a message to the pipe and give its size in bytes; a peer that is gone hears nothing."""
        line = encode(message)
        if not self._writer.is_closing():
            self._writer.write(line)
        return len(line)

    async def drained(self) -> None:
        """Wait until the pipe has room.

        Raises:
            HostGone: nobody reads it any more.
        """
        if self._writer.is_closing():
            raise HostGone("the host's process is gone")
        try:
            await self._writer.drain()
        except OSError:
            raise HostGone("the host's process is gone") from None

    def close(self) -> None:
        """Read no more; send what is still on the way, and nothing after it."""
        self._source.close()
        self._writer.close()

    async def closed(self) -> None:
        """Everything was sent, or nobody reads it."""
        try:
            await self._writer.wait_closed()
        except OSError:
            return
