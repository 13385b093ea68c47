"""The HTTP server: authentication, parsing, responses. `api` implements the requests."""

import hmac
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import orjson
from aiohttp import web

from paperclip_claude_k8s.base.strict_json import MAX_DEPTH, is_too_deep
from paperclip_claude_k8s.devcluster.api import Api, Request
from paperclip_claude_k8s.devcluster.problems import Problem, bad_request
from paperclip_claude_k8s.devcluster.streams import open_log, open_watch
from paperclip_claude_k8s.devcluster.target import Target, parse_target

PATHS_WITHOUT_TOKEN = frozenset({"/version", "/healthz", "/livez", "/readyz"})
"""Paths that need no token."""
CREATED = 201
MAX_BODY_BYTES = 8 * 1024 * 1024
SHUTDOWN_SECONDS = 1.0
"""Seconds that open responses have to finish when the server stops."""


class Server:
    """Listens on 127.0.0.1 only, because an authenticated client can run commands as this user."""

    def __init__(self, api: Api, token: str) -> None:
        self._api = api
        self._token = token
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None  # noqa: SLF001, S101  # aiohttp stores the port nowhere else
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # noqa: SLF001

    async def stop(self) -> None:
        if self._runner is not None:
            self._api.faults.drop_log_streams()
            self._api.faults.close_watches()
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """The address, which contains the token: kubectl sends no token over plain HTTP."""
        return f"http://127.0.0.1:{self.port}/{self._token}"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._respond(request, self._authenticated_path(request))
        except Problem as problem:
            headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after is not None else {}
            return _json(problem.status(), problem.code, headers)

    def _authenticated_path(self, request: web.Request) -> str:
        """The path without the token. Refuses foreign Host headers, as a defence against DNS rebinding."""
        host = request.host.rpartition(":")[0] or request.host
        if host not in {"127.0.0.1", "localhost"}:
            raise Problem(403, "Forbidden", f"Host {request.host!r} is not served")
        first, _, rest = request.path.removeprefix("/").partition("/")
        if _are_equal(first, self._token):
            return f"/{rest}"
        given = request.headers.get("Authorization", "")
        if request.path not in PATHS_WITHOUT_TOKEN and not _are_equal(given, f"Bearer {self._token}"):
            raise Problem(401, "Unauthorized", "Unauthorized")
        return request.path

    async def _respond(self, request: web.Request, path: str) -> web.StreamResponse:
        if path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        target = parse_target(path)
        query = dict(request.query)
        if isinstance(target, Target) and target.subresource == "log":
            log = open_log(self._api, target, query)
            return await self._stream(request, log, "text/plain", breakable=True)
        if isinstance(target, Target) and query.get("watch") in {"true", "1"}:
            as_table = "as=Table" in request.headers.get("Accept", "")
            events = open_watch(self._api, target, query, as_table=as_table)
            return await self._stream(request, events, "application/json")
        body = await request.read()
        try:
            request_object = _decode_like_go(body) if body else None
        except (ValueError, RecursionError):
            raise bad_request("the body is not JSON, or nested too deeply") from None
        if is_too_deep(request_object):
            raise bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")
        content_type, accept = (request.headers.get(name, "") for name in ("Content-Type", "Accept"))
        api_request = Request(request.method, query, request_object, content_type, accept)
        content, code = self._api.respond(path, target, api_request)
        response = _json(content, code)
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
        breakable: bool = False,
    ) -> web.StreamResponse:
        """Send the headers at once, then each chunk. `breakable`: `Faults.drop_log_streams` breaks it."""
        response = web.StreamResponse(headers={"Content-Type": content_type})
        cutter = _cutter(request)
        if breakable:
            self._api.faults.log_stream_cutters.add(cutter)
        try:
            async with aclosing(chunks):
                await response.prepare(request)
                async for chunk in chunks:
                    await response.write(chunk)
            await response.write_eof()
        except ConnectionError:
            pass  # the client disconnected, or a test cut the connection
        finally:
            self._api.faults.log_stream_cutters.discard(cutter)
        return response


def _are_equal(given: str, secret: str) -> bool:
    """Compare in constant time, whatever characters are given."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _cutter(request: web.Request) -> Callable[[], None]:
    """A function that breaks the connection of the request."""

    def cut() -> None:
        if request.transport is not None:
            request.transport.abort()

    return cut


def _json(content: object, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(content), status=code, content_type="application/json", headers=headers or {}
    )


def _decode_like_go(body: bytes) -> Any:  # noqa: ANN401  # any JSON
    """The JSON of the body. A real server replaces lone surrogates, which UTF-8 cannot encode."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = json.dumps(json.loads(body), ensure_ascii=False)
        return json.loads(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
