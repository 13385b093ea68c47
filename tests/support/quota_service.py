"""A service on the loopback interface that the quota gate asks. It records the requests.

Each test sets the response.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class QuotaService:
    response: tuple[int, str] = (200, '{"code": 0}')
    """Status and body of every response."""
    delay: float = 0.0
    """Seconds before each response."""
    byte_by_byte: bool = False
    """Whether each byte of the body is sent separately."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests."""
    idempotency_keys: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.idempotency_keys.append(request.headers.get("Idempotency-Key", ""))
        await asyncio.sleep(self.delay)
        status, body = self.response
        if self.byte_by_byte:
            return await self._send_bytes(request)
        return web.Response(status=status, text=body, headers={"Location": self.url})  # for redirects

    async def _send_bytes(self, request: web.Request) -> web.StreamResponse:
        status, body = self.response
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for byte in body.encode():
            await response.write(bytes([byte]))
            await asyncio.sleep(0.01)
        return response


@asynccontextmanager
async def quota_service() -> AsyncIterator[QuotaService]:
    service = QuotaService()
    app = web.Application()
    app.router.add_post("/consume", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/consume"
        yield service
    finally:
        await runner.cleanup()
