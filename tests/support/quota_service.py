"""A quota gate on the loopback that answers as it is told and remembers who asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Gate:
    """`answer`: status and body of every answer; `delay`: seconds before it."""

    answer: tuple[int, str] = (200, '{"code": 0}')
    delay: float = 0.0
    in_pieces: bool = False
    """Whether each byte of the body is sent by itself."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        await asyncio.sleep(self.delay)
        status, body = self.answer
        if self.in_pieces:
            return await self._pieces(request)
        return web.Response(status=status, text=body, headers={"Location": self.url})

    async def _pieces(self, request: web.Request) -> web.StreamResponse:
        status, body = self.answer
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        for byte in body.encode():
            await answer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        return answer


@asynccontextmanager
async def quota_gate() -> AsyncIterator[Gate]:
    gate = Gate()
    app = web.Application()
    app.router.add_post("/consume", gate.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}/consume"
        yield gate
    finally:
        await runner.cleanup()
