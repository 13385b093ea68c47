"""The connection of one host process to a cluster in memory."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.transport import Request as HttpRequest
from paperclip_claude_k8s.cluster.transport import Response
from paperclip_claude_k8s.devcluster.api import Request, verb_of
from paperclip_claude_k8s.devcluster.dev_cluster import NAMESPACE
from paperclip_claude_k8s.devcluster.problems import Problem
from paperclip_claude_k8s.devcluster.streams import open_log, open_watch
from paperclip_claude_k8s.devcluster.target import Target, parse_target

if TYPE_CHECKING:
    from paperclip_claude_k8s.testing.fake_cluster import FakeCluster

Object = dict[str, Any]


class HostConnection:
    """The connection of one host process: a `cluster.transport.HttpClient` that calls the API directly.

    It can be cut without affecting the cluster and other hosts.
    """

    def __init__(self, fake: "FakeCluster") -> None:
        self._fake = fake
        self._open: set[asyncio.Event] = set()
        self.is_cut = False
        self.watches_flowing = asyncio.Event()
        """While this is cleared, watches on this connection deliver nothing, not even an error."""
        self.watches_flowing.set()
        self.own_pod_name = ""
        """Name of the Pod to which the token of this connection is bound; "": it is not bound."""
        self.loses_response_of: tuple[str, str] | None = None
        """(verb, resource) of the next request that is executed but gets no response; None: no request."""

    def cut(self) -> None:
        """Break all open responses, and refuse all requests until `restore`."""
        self.is_cut = True
        for broken in self._open:
            broken.set()

    def restore(self) -> None:
        self.is_cut = False

    async def exchange(self, request: HttpRequest) -> Response:
        body = await self.call(request)
        return Response(body, tuple(self._fake.faults.warnings) if request.method == "POST" else ())

    async def call(self, request: HttpRequest) -> Object:
        await self._record_and_check_connection(request)
        api_request = Request(
            request.method,
            dict(request.query),
            _as_decoded_by_go(request.body),
            request.content_type,
            accept="",
        )
        try:
            response, _ = self._fake.api.respond(request.path, parse_target(request.path), api_request)
        except Problem as problem:
            raise _cluster_error(problem) from None
        target = parse_target(request.path)
        if isinstance(target, Target) and self.loses_response_of == (
            verb_of(request.method, target, watch=False),
            target.resource,
        ):
            self.loses_response_of = None
            raise ClusterError(None, "Timeout", f"{request} got no response in time")
        return json.loads(json.dumps(response))  # type: ignore[no-any-return]  # as if it was sent over a connection

    @asynccontextmanager
    async def stream(
        self,
        request: HttpRequest,
        *,
        silence: float | None = None,
        total: float | None = None,  # noqa: ARG002  # no response in memory takes long
    ) -> AsyncIterator["_Body"]:
        await self._record_and_check_connection(request)
        target = parse_target(request.path)
        if not isinstance(target, Target):
            raise ClusterError(404, "NotFound", f"{request}: nothing can be streamed from this path")
        is_log = target.subresource == "log"
        hangs = not is_log and target.resource in self._fake.faults.hanging_watches
        chunks = self._open_chunks(target, request, hangs=hangs)
        broken = asyncio.Event()
        if is_log:
            self._fake.faults.log_stream_cutters.add(broken.set)
        self._open.add(broken)
        try:
            async with aclosing(chunks), aclosing(_Body(chunks, broken, None if hangs else silence)) as body:
                yield body
        finally:
            self._fake.faults.log_stream_cutters.discard(broken.set)
            self._open.discard(broken)

    def _open_chunks(
        self, target: Target, request: HttpRequest, *, hangs: bool
    ) -> AsyncGenerator[bytes, None]:
        opener = open_log if target.subresource == "log" else open_watch
        try:
            chunks = opener(self._fake.api, target, dict(request.query))
        except Problem as problem:
            raise _cluster_error(problem) from None
        if target.subresource == "log":
            return chunks
        return self._hanging(self._while_flowing(chunks)) if hangs else self._while_flowing(chunks)

    async def _while_flowing(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            async for chunk in chunks:
                await self.watches_flowing.wait()
                yield chunk

    @staticmethod
    async def _hanging(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            await asyncio.Event().wait()  # for ever: the `yield` only makes this function a generator
            yield b""

    async def default_namespace(self) -> str | None:
        return NAMESPACE

    async def own_pod(self) -> str:
        return self.own_pod_name

    async def close(self) -> None:
        pass

    async def _record_and_check_connection(self, request: HttpRequest) -> None:
        await asyncio.sleep(0.001)  # a request takes some time, in which other tasks run
        target = parse_target(request.path)
        if isinstance(target, Target):
            verb = verb_of(request.method, target, watch=request.query.get("watch") == "true")
            self._fake.calls.made.append((verb, target.resource, target.name))
        if self.is_cut or asyncio.get_running_loop().time() < self._fake.down_until:
            raise ClusterError(None, "Unreachable", f"{request}: connection refused")


def _as_decoded_by_go(body: object) -> Any:  # noqa: ANN401  # any JSON value
    """The body as a server in Go decodes it, with lone surrogates replaced."""
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return json.loads(text)


class _Body:
    """The body of an open response. If a read is cancelled, no data is lost."""

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], broken: asyncio.Event, silence: float | None
    ) -> None:
        self._chunks = chunks
        self._broken = broken
        self._silence = silence
        self._next: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        self._next = self._next or asyncio.ensure_future(self._next_chunk())  # noqa: TID251  # outlives a cancelled read
        broken = asyncio.ensure_future(self._broken.wait())  # noqa: TID251  # cancelled below
        try:
            done, _ = await asyncio.wait(
                {self._next, broken}, timeout=self._silence, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            broken.cancel()
        if self._next in done:
            read, self._next = self._next, None
            return read.result()
        raise ClusterError(None, "Broken", "the connection broke")

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])

    async def _next_chunk(self) -> bytes:
        return await anext(self._chunks, b"")


def _cluster_error(problem: Problem) -> ClusterError:
    return ClusterError(problem.code, problem.reason, problem.message, retry_after=problem.retry_after)
