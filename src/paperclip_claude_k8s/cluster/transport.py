"""HTTP to an API server, by hand.

The generated client's raw mode returns errors as answers, its other mode rewrites logs, and neither has a
time limit (PEERS 0.5).
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from paperclip_claude_k8s.base.http import open_session
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.refusals import read_refusal, translated

UNAUTHORIZED = 401
OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` is percent-encoded, `body` is sent as JSON.

    A `confidential` body is never quoted in an error, not even where the server quotes it.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"
    confidential: bool = False

    @property
    def target(self) -> str:
        """Path and query as they go over the wire."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_WARNING = re.compile(r'\b299 \S+ "((?:[^"\\]|\\.)*)"')


def warnings_of(headers: Iterable[str]) -> tuple[str, ...]:
    """The texts of `Warning: 299 - "..."` headers (RFC 7234 5.5), as Kubernetes sends them."""
    quoted = (text for header in headers for text in _WARNING.findall(header))
    return tuple(re.sub(r"\\(.)", r"\1", text) for text in quoted)


class Chunks(Protocol):
    """The body of an answer that stays open."""

    async def read(self) -> bytes:
        """The next bytes as they came, or b"" once the server has ended the answer.

        Raises:
            ClusterError: status None; the connection broke or stayed silent for too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON object that answers a call, and what the server warned of while it took the request."""

    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Wire(Protocol):
    """What the gateway asks of HTTP; the unit tests' cluster answers it without sockets."""

    async def call(self, request: Request) -> dict[str, Any]: ...

    async def answer(self, request: Request) -> Answer: ...

    def stream(
        self, request: Request, *, silence: float | None = None
    ) -> AbstractAsyncContextManager[Chunks]: ...

    async def default_namespace(self) -> str | None: ...

    async def close(self) -> None: ...


Send = Callable[[Request, aiohttp.ClientTimeout], Awaitable[aiohttp.ClientResponse]]


class OpenAnswer(AbstractAsyncContextManager["OpenAnswer"]):
    """Open for the length of a block."""

    def __init__(self, request: Request, limits: aiohttp.ClientTimeout, send: Send) -> None:
        self._request = request
        self._limits = limits
        self._send = send
        self._answer: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Self:
        with translated(self._request):
            self._answer = await self._send(self._request, self._limits)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._answer is not None:
            self._answer.close()

    async def read(self) -> bytes:
        assert self._answer is not None  # noqa: S101  # only what was entered is read
        with translated(self._request):
            return await self._answer.content.readany()


class Transport:
    """One API server. Connects at the first call; belongs to the event loop of that call."""

    def __init__(self, kubeconfig: str | None, timings: Timings) -> None:
        self._credentials = Credentials(kubeconfig)
        self._timings = timings
        self._session: aiohttp.ClientSession | None = None

    async def call(self, request: Request) -> dict[str, Any]:
        """As `answer`, where nobody asks for warnings."""
        return (await self.answer(request)).body

    async def answer(self, request: Request) -> Answer:
        """What answers one short call, all of it within `Timings.request`.

        Raises:
            ClusterError: a refusal, or status None when no whole answer came.
        """
        with translated(request):
            async with asyncio.timeout(self._timings.request):
                answer = await self._accepted(request, aiohttp.ClientTimeout(connect=self._timings.connect))
                async with answer:
                    body = await answer.read()
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError:
            told = None
        if not isinstance(told, dict):
            raise ClusterError(None, "BrokenAnswer", f"{request} was not answered with a JSON object")
        return Answer(told, warnings_of(answer.headers.getall("Warning", ())))

    def stream(self, request: Request, *, silence: float | None = None) -> OpenAnswer:
        """An answer that stays open; `silence` seconds without a byte break it."""
        limits = aiohttp.ClientTimeout(connect=self._timings.connect, sock_read=silence)
        return OpenAnswer(request, limits, self._accepted)

    async def default_namespace(self) -> str | None:
        await self._credentials.load()
        return self._credentials.namespace

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _accepted(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """A good answer; anything else is raised. A 401 renews the credentials once."""
        if not self._credentials.version:
            async with asyncio.timeout(self._timings.request):
                await self._credentials.load()
        used = self._credentials.version
        answer = await self._send(request, limits)
        if answer.status == UNAUTHORIZED:
            answer.close()
            async with asyncio.timeout(self._timings.request):
                await self._credentials.renew(used)
            answer = await self._send(request, limits)
        if answer.status in OK:
            return answer
        async with asyncio.timeout(self._timings.request), answer:
            raise await read_refusal(str(request), answer, request.body if request.confidential else None)

    async def _send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        credentials = self._credentials
        headers = {"Accept": "application/json, */*"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        headers |= await credentials.headers()
        return await self._opened().request(
            request.method,
            URL(f"{credentials.server}{request.target}", encoded=True),
            data=None if request.body is None else _encoded(request.body),
            headers=headers,
            timeout=limits,
            proxy=credentials.proxy,
            ssl=credentials.tls or True,
            server_hostname=credentials.server_hostname,
            allow_redirects=False,
        )

    def _opened(self) -> aiohttp.ClientSession:
        """The session, opened at the first request; each request names its proxy, which may change."""
        if self._session is None:
            self._session = open_session()
        return self._session


def _encoded(body: object) -> bytes:
    """JSON; lone surrogates and very long integers, which only the standard library takes, go as escapes."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body).encode()
