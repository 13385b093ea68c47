"""A TCP proxy to an API server that can cut, silence and refuse connections; TLS passes through it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

PIECE = 16 * 1024


@dataclass(slots=True)
class FlakyWire:
    """Forwards connections. `cuts`: each entry resets one connection after this many response bytes."""

    host: str
    port: int
    cuts: list[int] = field(default_factory=list)
    broken: int = 0
    _open: set[asyncio.Event] = field(default_factory=set)
    """One event per connection, set at its end."""
    _silenced: set[asyncio.Event] = field(default_factory=set)
    _unplugged: bool = False

    def cut(self) -> None:
        """Reset every open connection."""
        for over in self._open:
            self.broken += 1
            over.set()

    def silence(self) -> None:
        """Stop forwarding on all open connections without closing them; new connections work."""
        self._silenced |= self._open

    def unplug(self) -> None:
        self._unplugged = True
        self.cut()

    def plug_in(self) -> None:
        self._unplugged = False

    async def serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        if self._unplugged:
            _reset(answer)
            return
        over = asyncio.Event()
        self._open.add(over)
        far, request = await asyncio.open_connection(self.host, self.port)
        try:
            async with asyncio.TaskGroup() as ways:
                up = ways.create_task(_until_over(over, self._questions(over, near, request)))
                down = ways.create_task(_until_over(over, self._answers(over, far, answer)))
                await over.wait()
                up.cancel()
                down.cancel()
        finally:
            self._open.discard(over)
            self._silenced.discard(over)
            _reset(answer)
            request.close()

    async def _questions(
        self, over: asyncio.Event, near: asyncio.StreamReader, request: asyncio.StreamWriter
    ) -> None:
        while piece := await near.read(PIECE):
            await self._hold(over)
            request.write(piece)
            await request.drain()

    async def _answers(
        self, over: asyncio.Event, far: asyncio.StreamReader, answer: asyncio.StreamWriter
    ) -> None:
        passed = 0
        while piece := await far.read(PIECE):
            passed += len(piece)
            if self.cuts and passed > self.cuts[0]:
                self.cuts.pop(0)
                self.broken += 1
                return
            await self._hold(over)
            answer.write(piece)
            await answer.drain()

    async def _hold(self, over: asyncio.Event) -> None:
        while over in self._silenced:  # noqa: ASYNC110  # for ever, mostly
            await asyncio.sleep(0.2)


async def _until_over(over: asyncio.Event, way: Awaitable[None]) -> None:
    try:
        with suppress(OSError):
            await way
    finally:
        over.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        connection: socket.socket | None = writer.get_extra_info("socket")
        if connection is not None:
            linger_none = b"\1\0\0\0\0\0\0\0"  # close sends RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    writer.transport.abort()


@asynccontextmanager
async def flaky_wire(kubeconfig: str, folder: Path) -> AsyncIterator[tuple[FlakyWire, str]]:
    """The proxy, and a copy of the kubeconfig that uses it."""
    config: dict[str, Any] = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig).read_text, "utf-8"))
    cluster = config["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    assert server.hostname is not None
    assert server.port is not None
    wire = FlakyWire(server.hostname, server.port)
    listening = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    cluster["server"] = f"{server.scheme}://127.0.0.1:{port}{server.path}"
    path = folder / "flaky-kubeconfig"
    await asyncio.to_thread(path.write_text, yaml.safe_dump(config), "utf-8")
    try:
        yield wire, str(path)
    finally:
        listening.close()
        wire.cut()
        await asyncio.sleep(0.1)
        await listening.wait_closed()
