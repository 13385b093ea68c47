"""The two pipes between the bridge and the host's process, as lines."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.bridge.wire import encode

CHUNK_BYTES = 64 * 1024
MAX_LINE_BYTES = Limits().bridge_line_bytes


class HostGone(ConnectionError):
    """The host's process no longer reads its pipe."""


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
        reader = asyncio.StreamReader()
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, None, loop), reading)

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield every line except blank ones, until the host closes its pipe. Drop an incomplete last line.

        Of a line that is too long, only the first `MAX_LINE_BYTES` + 1 bytes are kept and yielded, so that
        `read_message` still finds it too long.
        """
        line = bytearray()
        while chunk := await self._chunk():
            *ends, start_of_next = chunk.split(b"\n")
            for end in ends:
                line += end[: MAX_LINE_BYTES + 1 - len(line)]
                if line.strip():
                    yield bytes(line)
                line = bytearray()
            line += start_of_next[: MAX_LINE_BYTES + 1 - len(line)]

    async def _chunk(self) -> bytes:
        """Return the next bytes from the host; b"" when it has closed its pipe."""
        try:
            return await self._reader.read(CHUNK_BYTES)
        except OSError:
            return b""

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
