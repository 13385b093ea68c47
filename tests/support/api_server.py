"""A small HTTP server whose handler a test provides; it can also be the API server of a `Gateway`."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SHORT_TIMEOUTS = Timings(connect=1.0, request=1.0, watch=2.0, watch_silence=0.4)
"""Short limits, for tests in which no response comes."""
DEFAULT_TIMINGS = Timings()
"""For all other tests: on a busy machine, loading the client library and starting a program take seconds."""


@asynccontextmanager
async def serving(
    handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run a server for the duration of the block; yield its URL."""

    async def respond(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0, ssl_context=tls)
        await site.start()
        port: int = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield f"{'https' if tls else 'http'}://{shown}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gateway_to(
    handler: Handler, folder: Path, timings: Timings = DEFAULT_TIMINGS
) -> AsyncIterator[Gateway]:
    """Yield a gateway whose API server is this handler."""
    async with serving(handler) as url:
        gateway = Gateway(write_kubeconfig(folder, url), timings=timings)
        try:
            yield gateway
        finally:
            await gateway.close()


def write_kubeconfig(folder: Path, server: str = "http://127.0.0.1:1", **more: Any) -> str:
    """Write a kubeconfig and return its path.

    `user`, `cluster` and `context` add fields to these parts of it; other arguments are added at the top
    level.
    """
    user, cluster, context = more.pop("user", {}), more.pop("cluster", {}), more.pop("context", {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", **context}}],
        **more,
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def refusing(code: int, reason: str, message: str, **headers: str) -> Handler:
    """Return a handler that responds to every request with this error `Status`."""

    async def refuse(_: web.Request) -> web.Response:
        status = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
        return web.json_response(status, status=code, headers=headers)

    return refuse


async def silent(_: web.Request) -> web.Response:
    """Never respond."""
    await asyncio.Event().wait()
    return web.Response()
