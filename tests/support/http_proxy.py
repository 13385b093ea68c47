"""A small HTTP proxy: it makes tunnels (CONNECT), passes plain requests on, or refuses both."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class HttpProxy:
    """`answer`: the response to every request, which is then not passed on; None: requests are passed on."""

    answer: bytes | None = None
    port: int = 0
    heads: list[str] = field(default_factory=list)
    """The first line and the headers of every request."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
                return
            await self._pass_on(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            with suppress(OSError, RuntimeError):
                writer.close()

    async def _pass_on(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        address = urlsplit(f"//{target}" if method == "CONNECT" else target)
        up_reader, up_writer = await asyncio.open_connection(address.hostname, address.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = f"{address.path}?{address.query}" if address.query else address.path
            up_writer.write(head.replace(target, path, 1).encode())
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, up_writer))
            group.create_task(_copy(up_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()


def refusal(status: str, *headers: str, body: str = "", content_type: str = "text/html") -> bytes:
    """The bytes of a response, such as `refusal("407 Proxy Authentication Required")`."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


@asynccontextmanager
async def http_proxy(
    answer: bytes | None = None, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[HttpProxy]:
    """Run a proxy for the duration of the block."""
    proxy = HttpProxy(answer)
    server = await asyncio.start_server(proxy.serve, host, 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await asyncio.sleep(0.05)
