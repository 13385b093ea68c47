"""A TCP proxy to an API server. It can reset and silence connections, and passes TLS through unchanged."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

CHUNK = 16 * 1024


@dataclass(slots=True)
class FlakyProxy:
    """Forwards each connection to `host` and `port`, those of the API server."""

    host: str
    port: int
    cuts: list[int] = field(default_factory=list)
    """Each entry resets the next connection that receives more response bytes than this number."""
    resets: int = 0
    """Number of connections that were reset."""
    _open: set[asyncio.Event] = field(default_factory=set)
    """One event per connection; setting it closes the connection."""
    _silenced: set[asyncio.Event] = field(default_factory=set)
    """Those of `_open` whose connections are not forwarded."""
    _unplugged: bool = False

    def cut(self) -> None:
        """Reset every open connection."""
        for closing in self._open:
            self.resets += 1
            closing.set()

    def silence(self) -> None:
        """Stop forwarding on all open connections without closing them; new connections work."""
        self._silenced |= self._open

    def unplug(self) -> None:
        """Reset every open connection, and every new one until `plug_in`."""
        self._unplugged = True
        self.cut()

    def plug_in(self) -> None:
        """Forward new connections again."""
        self._unplugged = False

    async def serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._unplugged:
            _reset(client)
            return
        closing = asyncio.Event()
        self._open.add(closing)
        responses, server = await asyncio.open_connection(self.host, self.port)
        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(
                    _then_close(closing, self._forward_requests(closing, requests, server))
                )
                down = group.create_task(
                    _then_close(closing, self._forward_responses(closing, responses, client))
                )
                await closing.wait()
                up.cancel()
                down.cancel()
        finally:
            self._open.discard(closing)
            self._silenced.discard(closing)
            _reset(client)
            server.close()

    async def _forward_requests(
        self, closing: asyncio.Event, requests: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        while chunk := await requests.read(CHUNK):
            await self._wait_while_silenced(closing)
            server.write(chunk)
            await server.drain()

    async def _forward_responses(
        self, closing: asyncio.Event, responses: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        size = 0
        while chunk := await responses.read(CHUNK):
            size += len(chunk)
            if self.cuts and size > self.cuts[0]:
                self.cuts.pop(0)
                self.resets += 1
                return
            await self._wait_while_silenced(closing)
            client.write(chunk)
            await client.drain()

    async def _wait_while_silenced(self, closing: asyncio.Event) -> None:
        while closing in self._silenced:  # noqa: ASYNC110  # usually until the task is cancelled
            await asyncio.sleep(0.2)


async def _then_close(closing: asyncio.Event, forwarding: Awaitable[None]) -> None:
    """Close the connection as soon as forwarding in one direction has ended."""
    try:
        with suppress(OSError):
            await forwarding
    finally:
        closing.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        connection: socket.socket | None = writer.get_extra_info("socket")
        if connection is not None:
            no_linger = b"\1\0\0\0\0\0\0\0"  # makes close send RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    writer.transport.abort()


@asynccontextmanager
async def flaky_proxy(kubeconfig: str, folder: Path) -> AsyncIterator[tuple[FlakyProxy, str]]:
    """Start a proxy; yield it, and the path of a copy of the kubeconfig that uses it."""
    config: dict[str, Any] = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig).read_text, "utf-8"))
    cluster = config["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    assert server.hostname is not None
    assert server.port is not None
    flaky = FlakyProxy(server.hostname, server.port)
    listener = await asyncio.start_server(flaky.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    cluster["server"] = f"{server.scheme}://127.0.0.1:{port}{server.path}"
    path = folder / "flaky-kubeconfig"
    await asyncio.to_thread(path.write_text, yaml.safe_dump(config), "utf-8")
    try:
        yield flaky, str(path)
    finally:
        listener.close()
        flaky.cut()
        await asyncio.sleep(0.1)
        await listener.wait_closed()
