"""HTTP to one API server: short calls, open responses (logs, watches), and the lines of a watch.

The HTTP client is written by hand because kubernetes_asyncio does not fit: its raw mode returns errors as
normal responses, its other mode rewrites log lines, and it has no time limits.

* `Transport.exchange` sends one short call, bounded by `Timings.request` from start to last byte.
* `Transport.stream` opens a response of unknown length. `silence` bounds the pause between bytes, `total`
  the time from the request to the last byte.
* A response that is too large, has too many values or is compressed is an error: nothing that the server
  sends may fill the memory or stop the event loop. The bounds are in `Limits`.
* A response with a status other than 2xx is raised as `ClusterError` with the server's own message. After a
  401 the credentials are read again and the request is repeated once, since tokens expire. The same happens
  after TLS failed, if certificates have changed in their files.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Protocol, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from paperclip_claude_k8s.base.http import open_session
from paperclip_claude_k8s.base.json_readers import get_int, get_object, get_text
from paperclip_claude_k8s.base.settings import LIMITS, Limits, Timings
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cluster import refusals
from paperclip_claude_k8s.cluster.credentials import Credentials
from paperclip_claude_k8s.cluster.foreign_answers import is_page
from paperclip_claude_k8s.cluster.model import Bookmark, WatchEvent
from paperclip_claude_k8s.cluster.port import MAX_MESSAGE_CHARS, ClusterError

S = TypeVar("S")
MAX_WARNINGS = 20
"""Largest number of warnings that are kept of one response."""
TOO_LARGE = "TooLarge"
"""Reason of a `ClusterError` without a status: a response exceeds one of `Limits`."""
UNAUTHORIZED = 401
SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` is percent-encoded, `body` is sent as JSON.

    A `confidential` body is never quoted in an error, even if the server's message quotes it.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = field(default=None, repr=False)
    content_type: str = "application/json"
    confidential: bool = False

    @property
    def target(self) -> str:
        """Path and query of the URL, encoded."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Chunks(Protocol):
    """The body of an open response."""

    async def read(self) -> bytes:
        """The next bytes as they arrived, or b"" once the server has ended the response.

        Raises:
            ClusterError: status None; the connection broke or stayed silent for too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """The JSON object of a short call, the texts of the server's `Warning` headers, and the size in bytes."""

    body: dict[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = ()
    size: int = 0


class HttpClient(Protocol):
    """The interface through which `Gateway` uses HTTP; unit tests implement it without sockets."""

    async def call(self, request: Request) -> dict[str, Any]: ...

    async def exchange(self, request: Request) -> Response: ...

    def stream(
        self, request: Request, *, silence: float | None = None, total: float | None = None
    ) -> AbstractAsyncContextManager[Chunks]: ...

    async def default_namespace(self) -> str | None: ...

    async def own_pod(self) -> str: ...

    async def close(self) -> None: ...


SendChecked = Callable[[Request, aiohttp.ClientTimeout], Awaitable[aiohttp.ClientResponse]]
"""The type of `Transport._send_checked`, which an `OpenResponse` calls when it is entered."""


class OpenResponse(AbstractAsyncContextManager["OpenResponse"]):
    """A response whose body is read as it arrives.

    The request is sent when the `async with` block is entered; the response is closed at the block's end.
    """

    def __init__(self, request: Request, time_limits: aiohttp.ClientTimeout, send: SendChecked) -> None:
        self._request = request
        self._time_limits = time_limits
        self._send = send
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Self:
        with refusals.network_errors_translated(self._request):
            self._response = await self._send(self._request, self._time_limits)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()

    async def read(self) -> bytes:
        assert self._response is not None  # noqa: S101  # read is only called inside the block
        with refusals.network_errors_translated(self._request):
            return await self._response.content.readany()


class Transport:
    """HTTP to one API server. Connects at the first call; belongs to the event loop of that call."""

    def __init__(self, source: str | Credentials | None, timings: Timings, limits: Limits = LIMITS) -> None:
        self._credentials = source if isinstance(source, Credentials) else Credentials(source)
        self._timings = timings
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def call(self, request: Request) -> dict[str, Any]:
        """The body of `exchange`, for callers that do not need the warnings."""
        return (await self.exchange(request)).body

    async def exchange(self, request: Request) -> Response:
        """Send one short call and read its whole response within `Timings.request`.

        Raises:
            ClusterError: a response other than 2xx; or status None if no complete JSON object arrived.
        """
        with refusals.network_errors_translated(request):
            async with asyncio.timeout(self._timings.request):
                time_limits = aiohttp.ClientTimeout(connect=self._timings.connect)
                response = await self._send_checked(request, time_limits)
                async with response:
                    content = await self._read_body(request, response)
        body = parse_json(content, self._limits)
        if not isinstance(body, dict):
            if is_page("", content):
                raise refusals.page_error(str(request), response, content, hidden=request.confidential)
            raise ClusterError(None, "BrokenResponse", f"the response to {request} is not a JSON object")
        return Response(body, parse_warnings(response.headers.getall("Warning", ())), len(content))

    async def _read_body(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        body, limit = bytearray(), self._limits.response_bytes
        while block := await response.content.readany():
            body += block
            if len(body) > limit:
                raise ClusterError(None, TOO_LARGE, f"the response to {request} has more than {limit} bytes")
        return bytes(body)

    def stream(
        self, request: Request, *, silence: float | None = None, total: float | None = None
    ) -> OpenResponse:
        """Open a response of unknown length.

        Reading it fails after `silence` seconds without a byte, and `total` seconds after the request.
        """
        time_limits = aiohttp.ClientTimeout(total=total, connect=self._timings.connect, sock_read=silence)
        return OpenResponse(request, time_limits, self._send_checked)

    async def default_namespace(self) -> str | None:
        await self._credentials.load()
        return self._credentials.namespace

    async def own_pod(self) -> str:
        await self._credentials.load()
        return self._credentials.pod

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send_checked(
        self, request: Request, time_limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send; after a 401 once more with new credentials.

        Raises `ClusterError` for any status but 2xx, and for a web page with any status.
        """
        if not self._credentials.version:
            async with asyncio.timeout(self._timings.request):
                await self._credentials.load()
        used = self._credentials.version
        response = await self._send_with_current_certificates(request, time_limits)
        if response.status == UNAUTHORIZED:
            response.close()
            async with asyncio.timeout(self._timings.request):
                await self._credentials.renew(used)
            response = await self._send(request, time_limits)
        if response.status in SUCCESS and response.content_type != "text/html":
            _check_encoding(request, response)
            return response
        # a proxy cannot read requests to an https server, so it cannot have answered one itself
        proxy = None if self._credentials.server.startswith("https") else self._credentials.proxy
        async with asyncio.timeout(self._timings.request), response:
            body = request.body if request.confidential else None
            raise await refusals.read_refusal(str(request), response, body, proxy)

    async def _send_with_current_certificates(
        self, request: Request, time_limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send; if certificates may have been refused and have changed in their files, send once more.

        A request that changes something is sent again only after a TLS error. After any other error the
        server may have carried it out.
        """
        used = self._credentials.version
        try:
            return await self._send(request, time_limits)
        except aiohttp.ClientError as error:
            if not refusals.may_be_about_certificates(error):
                raise
            async with asyncio.timeout(self._timings.request):
                changed = await self._credentials.reread_files(used)
            if not changed or not (refusals.is_tls_error(error) or request.method == "GET"):
                raise
        return await self._send(request, time_limits)

    async def _send(self, request: Request, time_limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        credentials = self._credentials
        headers = [("Accept", "application/json, */*")]
        if request.body is not None:
            headers.append(("Content-Type", request.content_type))
        headers += await credentials.headers()
        proxy = credentials.proxy
        with proxy.errors_translated(request) if proxy else nullcontext():
            return await self._get_session().request(
                request.method,
                URL(f"{credentials.server}{request.target}", encoded=True),
                data=None if request.body is None else _encoded(request.body),
                headers=headers,
                timeout=time_limits,
                proxy=proxy.url if proxy else None,
                ssl=credentials.tls or True,
                server_hostname=credentials.server_hostname,
                allow_redirects=False,
            )

    def _get_session(self) -> aiohttp.ClientSession:
        """The session, which the first request opens. It has no proxy: each request names its own proxy."""
        if self._session is None:
            self._session = open_session()
        return self._session


def _check_encoding(request: Request, response: aiohttp.ClientResponse) -> None:
    """Raise `ClusterError` for a compressed response: a short one can become very long when decompressed."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
        response.close()
        raise ClusterError(
            None, "BrokenResponse", f"the response to {request} is compressed, which was not requested"
        )


def parse_json(text: bytes, limits: Limits) -> object:
    """Parse JSON of the server; None if it is not JSON.

    Raises:
        ClusterError: status None; it has so many values that all runs would wait for the parser.
    """
    if text.count(b",") + text.count(b"[") + text.count(b"{") > limits.response_values:
        raise ClusterError(
            None, TOO_LARGE, f"the server sent more than {limits.response_values} values at once"
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _encoded(body: object) -> bytes:
    """The body as JSON. The standard library encodes lone surrogates and large integers; orjson does not."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body).encode()


_WARNING = re.compile(r'\b299 \S+ "((?:[^"\\]|\\.)*)"')


def parse_warnings(headers: Iterable[str]) -> tuple[str, ...]:
    """The texts of `Warning: 299 - "..."` headers (RFC 7234 5.5), which Kubernetes uses for warnings."""
    quoted = (text for header in headers for text in _WARNING.findall(header))
    texts = (re.sub(r"\\(.)", r"\1", text) for text in islice(quoted, MAX_WARNINGS))
    return tuple(neutral(text[:MAX_MESSAGE_CHARS]) for text in texts)


async def split_lines(response: Chunks, limit: int) -> AsyncGenerator[bytes, None]:
    """The complete, non-blank lines of a response. An unfinished last line is dropped.

    Raises:
        ClusterError: status None; a line has more than `limit` bytes.
    """
    rest = bytearray()
    while block := await response.read():
        first, *others = block.split(b"\n")
        rest += first
        for other in others:
            if rest.strip():
                yield bytes(rest)
            rest = bytearray(other)
        if len(rest) > limit:
            raise ClusterError(None, TOO_LARGE, f"a watch sent a line of more than {limit} bytes")


def parse_watch_event(line: bytes, read: Callable[[Any], S]) -> WatchEvent[S] | Bookmark:
    """Parse one line of a watch; `read` makes a snapshot of the object in it.

    Raises:
        ClusterError: an ERROR event, with the code in it (410: the version is too old); or, with status None,
            a line that is not a watch event.
    """
    event: Any = parse_json(line, LIMITS)
    subject = event.get("object") if isinstance(event, dict) else None
    if not isinstance(subject, dict):
        raise ClusterError(None, "BrokenResponse", "a watch sent a line that is not a watch event")
    match event.get("type"):
        case "ERROR":
            message = get_text(subject, "message") or "the watch failed"
            raise ClusterError(get_int(subject, "code"), get_text(subject, "reason"), message)
        case "BOOKMARK":
            return Bookmark(get_text(get_object(subject, "metadata"), "resourceVersion"))
        case kind:
            return WatchEvent(read(subject), gone=kind == "DELETED", size=len(line))
