"""HTTP to an API server, by hand.

The generated client's raw mode returns errors as answers, its other mode rewrites logs, and neither has a
time limit (PEERS 0.5).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import aiohttp
import orjson

from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.ground.settings import Timings

QUOTED = 256
"""Characters quoted of a body that is no Status: enough to recognise a proxy's page, too few to leak much."""
READ_BUFFER = 256 * 1024
"""Bytes: log answers come in large pieces; the default of 64 KiB would double the number of wake-ups."""
UNAUTHORIZED = 401
OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `body` is sent as JSON."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Chunks(Protocol):
    """The body of an answer that stays open."""

    async def readany(self) -> bytes:
        """The next bytes as they came; b"" at the end."""
        ...


class Wire(Protocol):
    """What the gateway asks of HTTP; the unit tests' cluster answers it without sockets."""

    async def call(self, request: Request) -> dict[str, Any]: ...

    def stream(
        self, request: Request, *, silence: float | None = None
    ) -> AbstractAsyncContextManager[Chunks]: ...

    async def default_namespace(self) -> str | None: ...

    async def close(self) -> None: ...


class Transport:
    """One API server. Connects at the first call; belongs to the event loop of that call."""

    def __init__(self, kubeconfig: str | None, timings: Timings) -> None:
        self._credentials = Credentials(kubeconfig)
        self._timings = timings
        self._opening = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def call(self, request: Request) -> dict[str, Any]:
        """The JSON answer of one short call.

        Raises:
            ClusterError: a refusal, or status None when no whole answer came.
        """
        limits = aiohttp.ClientTimeout(total=self._timings.request, sock_connect=self._timings.connect)
        async with self._answer(request, limits) as answer:
            body = await answer.read()
        try:
            return orjson.loads(body)  # type: ignore[no-any-return]
        except orjson.JSONDecodeError:
            raise ClusterError(None, "BrokenAnswer", f"{request} gave no JSON") from None

    @asynccontextmanager
    async def stream(self, request: Request, *, silence: float | None = None) -> AsyncIterator[Chunks]:
        """An answer that stays open; `silence` seconds without a byte break it."""
        limits = aiohttp.ClientTimeout(sock_connect=self._timings.connect, sock_read=silence)
        async with self._answer(request, limits) as answer:
            yield answer.content

    async def default_namespace(self) -> str | None:
        await self._credentials.load()
        return self._credentials.namespace

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _answer(
        self, request: Request, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer; anything else is raised. A 401 reloads the credentials once."""
        with translated(request):
            answer = await self._send(request, limits)
            if answer.status == UNAUTHORIZED:
                answer.close()
                await self._credentials.reload()
                answer = await self._send(request, limits)
            async with answer:
                if answer.status not in OK:
                    raise await _refusal(request, answer)
                yield answer

    async def _send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        session = await self._opened()
        headers = await self._credentials.headers()
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        return await session.request(
            request.method,
            f"{self._credentials.server}{request.path}",
            params=request.query,
            data=None if request.body is None else orjson.dumps(request.body),
            headers=headers,
            timeout=limits,
            proxy=self._credentials.proxy,
            server_hostname=self._credentials.server_hostname,
            allow_redirects=False,
        )

    async def _opened(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                await self._credentials.load()
                connector = aiohttp.TCPConnector(limit=0, ssl=self._credentials.ssl_context())
                self._session = aiohttp.ClientSession(
                    connector=connector, read_bufsize=READ_BUFFER, trust_env=True
                )
        return self._session


@contextmanager
def translated(request: Request) -> Iterator[None]:
    """The one door for aiohttp's exceptions: each is a `ClusterError` without a status."""
    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise ClusterError(None, "Certificate", f"{request}: {error}") from None
    except aiohttp.ClientConnectorError as error:
        raise ClusterError(None, "Unreachable", f"{request}: {error}") from None
    except TimeoutError:
        raise ClusterError(None, "Timeout", f"{request}: no answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        words = str(error) or type(error).__name__
        raise ClusterError(None, "Broken", f"{request}: the connection broke: {words}") from None


async def _refusal(request: Request, answer: aiohttp.ClientResponse) -> ClusterError:
    """A `Status` in the server's own words; the beginning of anything else, such as a proxy's page."""
    body = await answer.read()
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        reason, message = str(status.get("reason") or answer.reason), str(status.get("message") or "")
    else:
        reason, message = str(answer.reason), f"{request}: {body[:QUOTED].decode('utf-8', 'replace').strip()}"
    return ClusterError(answer.status, reason, message, retry_after=_retry_after(answer, status))


def _retry_after(answer: aiohttp.ClientResponse, status: object) -> float | None:
    details = status.get("details") if isinstance(status, dict) else None
    told = answer.headers.get("Retry-After") or (
        details.get("retryAfterSeconds") if isinstance(details, dict) else None
    )
    try:
        return float(told) if told is not None else None
    except ValueError:
        return None  # an HTTP date: the caller's own pause will do
