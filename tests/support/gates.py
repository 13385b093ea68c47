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
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        await asyncio.sleep(self.delay)
        status, body = self.answer
        return web.Response(status=status, text=body, headers={"Location": self.url})


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
