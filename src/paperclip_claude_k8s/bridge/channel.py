"""The two pipes between the bridge and the host's process, as lines."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any

from paperclip_claude_k8s.bridge.wire import encode

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is an error; a context with a whole conversation is far shorter."""


class HostGone(ConnectionError):
    """The host's process no longer reads its pipe."""


class LineTooLong(Exception):
    """A line is longer than `MAX_LINE_BYTES`. Reading ends, because the end of the line is unknown."""


class Channel:
    """The pipes from and to the host.

    `write` never waits and keeps the order; `drained` waits while the pipe to the host is full.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: asyncio.ReadTransport
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._source = source

    @classmethod
    async def over(cls, source: IO[bytes], sink: IO[bytes]) -> "Channel":
        """Open a channel over two pipes or sockets.

        Raises:
            ValueError: `source` or `sink` is a regular file.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, None, loop), reading)

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield every line except blank ones, until the host closes its pipe; an incomplete line is dropped.

        Raises:
            LineTooLong: a line is longer than `MAX_LINE_BYTES`.
        """
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                raise LineTooLong(f"a line is longer than {MAX_LINE_BYTES} bytes") from None
            except OSError:
                return
            if not line.endswith(b"\n"):
                return
            if line.strip():
                yield line

    def write(self, message: Mapping[str, Any]) -> int:
        """Write a message and return its size in bytes; the message is dropped if the host is gone."""
        line = encode(message)
        if not self._writer.is_closing():
            self._writer.write(line)
        return len(line)

    async def drained(self) -> None:
        """Wait until the pipe to the host has room.

        Raises:
            HostGone: the host no longer reads that pipe.
        """
        if self._writer.is_closing():
            raise HostGone("the host's process is gone")
        try:
            await self._writer.drain()
        except OSError:
            raise HostGone("the host's process is gone") from None

    def close(self) -> None:
        """Stop reading, and finish writing what is buffered; later messages are dropped."""
        self._source.close()
        self._writer.close()

    async def closed(self) -> None:
        """Wait until everything is written, or the host no longer reads its pipe."""
        try:
            await self._writer.wait_closed()
        except OSError:
            return
