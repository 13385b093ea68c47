"""Emits an `ApiRequest` for every request of an HTTP client; no event is created if nothing receives it."""

import re
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.transport import Chunks, HttpClient, Request, Response
from paperclip_claude_k8s.instrumentation.event_hub import EventHub
from paperclip_claude_k8s.instrumentation.event_types import ApiRequest

_PATH = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+(?=/))?/(?P<resource>[a-z]+)"
    r"(?P<name>/[^/]+)?(?P<sub>/[a-z]+)?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
OK = 200


def verb_and_resource(request: Request) -> tuple[str, str]:
    """The RBAC verb and the resource of a request, such as ("get", "pods/log")."""
    found = _PATH.fullmatch(request.path)
    if found is None:  # `/version` is the only other path
        return "get", "version"
    read = "watch" if "watch" in request.query else "get" if found["name"] else "list"
    return _VERBS.get(request.method, read), found["resource"] + (found["sub"] or "")


def observed(http: HttpClient, events: EventHub | None) -> HttpClient:
    """The client, which also emits events if there is a hub for them."""
    return http if events is None else ObservedHttp(http, events)


class ObservedHttp:
    """An HTTP client that passes every call to another one, and emits an event for each request."""

    def __init__(self, http: HttpClient, events: EventHub) -> None:
        self._http = http
        self._events = events

    async def call(self, request: Request) -> dict[str, Any]:
        return (await self.exchange(request)).body

    async def exchange(self, request: Request) -> Response:
        if not self._events.wants(ApiRequest):
            return await self._http.exchange(request)
        began = loop_time()
        try:
            response = await self._http.exchange(request)
        except ClusterError as error:
            self.emit(request, began, error)
            raise
        self.emit(request, began)
        return response

    def stream(
        self, request: Request, *, silence: float | None = None, total: float | None = None
    ) -> AbstractAsyncContextManager[Chunks]:
        stream = self._http.stream(request, silence=silence, total=total)
        return _ObservedStream(self, request, stream) if self._events.wants(ApiRequest) else stream

    async def default_namespace(self) -> str | None:
        return await self._http.default_namespace()

    async def own_pod(self) -> str:
        return await self._http.own_pod()

    async def close(self) -> None:
        await self._http.close()

    def emit(self, request: Request, began: float, error: ClusterError | None = None) -> None:
        """Emit the event of a request that was sent at `began`, in loop time."""
        verb, resource = verb_and_resource(request)
        status, reason = (OK, "") if error is None else (error.status, error.reason or "NoResponse")
        self._events.emit(ApiRequest(datetime.now(UTC), verb, resource, status, reason, loop_time() - began))


class _ObservedStream(AbstractAsyncContextManager[Chunks]):
    """An open response; the event is emitted when the response begins."""

    def __init__(
        self, observed: ObservedHttp, request: Request, stream: AbstractAsyncContextManager[Chunks]
    ) -> None:
        self._observed = observed
        self._request = request
        self._stream = stream

    async def __aenter__(self) -> Chunks:
        began = loop_time()
        try:
            chunks = await self._stream.__aenter__()
        except ClusterError as error:
            self._observed.emit(self._request, began, error)
            raise
        self._observed.emit(self._request, began)
        return chunks

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)
