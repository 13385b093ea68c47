"""The Paperclip host's API, which the adapter polls for cancelled runs, and the poller, both in real time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.host_polling import HostPoller


class HostApi:
    """Gives every request the same response, and records the requests. Other bodies than str become JSON."""

    def __init__(self, body: Any, status: int = 200) -> None:
        self.body, self.status = body, status
        self.requests: list[tuple[str, str]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers.get("Authorization", "")))
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status)
        return web.json_response(self.body, status=self.status)


@asynccontextmanager
async def open_poller(url: str, **env: str) -> AsyncIterator[HostPoller]:
    nursery = Nursery()
    settings = ProcessSettings(timings=Timings(cancel_poll=0.05), env={"PAPERCLIP_API_URL": url, **env})
    try:
        yield HostPoller(settings, nursery)
    finally:
        await nursery.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # the server sets no event
            await asyncio.sleep(0.02)
