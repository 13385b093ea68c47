"""The HTTP face: who may ask, what was asked, and the answer. Meaning lives in `api`."""

import hmac
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import orjson
from aiohttp import web

from paperclip_claude_k8s.devcluster.api import Api, Request
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.streams import open_log, open_watch
from paperclip_claude_k8s.devcluster.target import Target, parse_target

OPEN_PATHS = frozenset({"/version", "/healthz", "/livez", "/readyz"})
CREATED = 201
BODY_LIMIT = 8 * 1024 * 1024
GRACE = 1.0
"""Seconds that open answers get when the server stops."""


class Server:
    """Listens on 127.0.0.1 only: whoever may ask can run commands as this user."""

    def __init__(self, api: Api, token: str) -> None:
        self._api = api
        self._token = token
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None  # noqa: SLF001, S101  # aiohttp keeps the port nowhere else
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # noqa: SLF001

    async def stop(self) -> None:
        if self._runner is not None:
            self._api.faults.drop_log_streams()
            self._api.faults.close_watches()
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Kubectl sends no token over plain HTTP, so the secret is part of the address as well."""
        return f"http://127.0.0.1:{self.port}/{self._token}"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request, self._admitted(request))
        except Problem as problem:
            headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after is not None else {}
            return _json(problem.status(), problem.code, headers)

    def _admitted(self, request: web.Request) -> str:
        """The path, for who knows the token; a foreign Host is refused: no web page may come in by DNS."""
        host = request.host.rpartition(":")[0] or request.host
        if host not in {"127.0.0.1", "localhost"}:
            raise Problem(403, "Forbidden", f"Host {request.host!r} is not served")
        first, _, rest = request.path.removeprefix("/").partition("/")
        if hmac.compare_digest(first.encode(), self._token.encode()):
            return f"/{rest}"
        given = request.headers.get("Authorization", "").encode()
        if request.path not in OPEN_PATHS and not hmac.compare_digest(
            given, f"Bearer {self._token}".encode()
        ):
            raise Problem(401, "Unauthorized", "Unauthorized")
        return request.path

    async def _answer(self, request: web.Request, path: str) -> web.StreamResponse:
        if path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        target = parse_target(path)
        query = dict(request.query)
        if isinstance(target, Target) and target.subresource == "log":
            return await self._stream(request, open_log(self._api, target, query), "text/plain", cut=True)
        if isinstance(target, Target) and query.get("watch") in {"true", "1"}:
            as_table = "as=Table" in request.headers.get("Accept", "")
            events = open_watch(self._api, target, query, as_table=as_table)
            return await self._stream(request, events, "application/json")
        body = await request.read()
        try:
            given = _as_go_reads(body) if body else None
        except ValueError:
            raise Problem(400, "BadRequest", "the body is not JSON") from None
        wanted = Request(
            request.method,
            query,
            given,
            request.headers.get("Content-Type", ""),
            request.headers.get("Accept", ""),
        )
        answer, code = self._api.answer(path, target, wanted)
        response = _json(answer, code)
        for text in self._api.faults.warnings if code == CREATED else ():
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{quoted}"')
        return response

    async def _stream(
        self,
        request: web.Request,
        chunks: AsyncGenerator[bytes, None],
        content_type: str,
        *,
        cut: bool = False,
    ) -> web.StreamResponse:
        """Headers at once, then bytes as they come; `cut` lets mischief break it off."""
        answer = web.StreamResponse(headers={"Content-Type": content_type})
        await answer.prepare(request)
        breaker = _breaker(request)
        if cut:
            self._api.faults.streams.add(breaker)
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await answer.write(chunk)
            await answer.write_eof()
        except ConnectionError:
            pass  # the reader went away, or was sent away
        finally:
            self._api.faults.streams.discard(breaker)
        return answer


def _breaker(request: web.Request) -> Callable[[], None]:
    def cut() -> None:
        if request.transport is not None:
            request.transport.abort()

    return cut


def _json(answer: object, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(answer), status=code, content_type="application/json", headers=headers or {}
    )


def _as_go_reads(body: bytes) -> Any:  # noqa: ANN401  # any JSON
    """The body's JSON; a real server replaces lone surrogates, which have no bytes in UTF-8."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = json.dumps(json.loads(body), ensure_ascii=False)
        return json.loads(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
