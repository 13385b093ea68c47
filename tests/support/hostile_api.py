"""An API server whose answers never end or are far too large, and a client in a process of its own.

`python -m tests.support.hostile_api KUBECONFIG CALL:ANSWER...` makes calls in a process with limited memory.
It prints a JSON list with `{answer, error, seconds, megabytes, lag}` for each call. `megabytes`: by how much
the memory grew; `lag`: the most CPU seconds for which the event loop was blocked. A call is made for the
namespace with the name of the answer, so that the server knows which one to send.
"""

import asyncio
import gzip
import itertools
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.informer import Informer
from paperclip_claude_k8s.cluster.model import JobRef, JobSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest

MEMORY_LIMIT = 1024 * 1024 * 1024
"""Most bytes of address space that the client may use."""
TIMINGS = Timings(request=2.0, watch=0.5, watch_silence=1.0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
Answer = Callable[[], Iterator[bytes]]


def _chunked(pieces: Iterator[bytes], head: bytes = HEAD) -> Iterator[bytes]:
    yield head + b"Transfer-Encoding: chunked\r\n\r\n"
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _whole(body: bytes, head: bytes = HEAD) -> Iterator[bytes]:
    yield head + b"Content-Length: %d\r\n\r\n" % len(body)
    yield body


def _pod(number: int, filler: int = 2000) -> bytes:
    labels = {"paperclip.io/adapter": "x" * filler}
    meta = {"name": f"pod-{number}", "uid": str(number), "resourceVersion": str(number), "labels": labels}
    return json.dumps({"type": "ADDED", "object": {"metadata": meta}}).encode() + b"\n"


BLOCK = b"x" * 65536
BOMB = gzip.compress(b'{"items":[' + b" " * 200_000_000 + b"]}", 1)
"""200 MB of JSON, compressed to about 1 MB."""
ANSWERS: dict[str, Answer] = {
    "endless body": lambda: _chunked(itertools.chain([b'{"items":["'], itertools.repeat(BLOCK))),
    "endless spaces": lambda: _chunked(itertools.repeat(b" " * 65536)),
    "compressed": lambda: _whole(BOMB, HEAD + b"Content-Encoding: gzip\r\n"),
    "compressed by another name": lambda: _whole(BOMB, HEAD + b"content-encoding: DEFLATE\r\n"),
    "endless pages": lambda: _whole(b'{"metadata":{"continue":"again"},"items":[{},{}]}'),
    "pages of large objects": lambda: _whole(
        b'{"metadata":{"continue":"again"},"items":[{"metadata":{"labels":{"a":"'
        + b"x" * 8_000_000
        + b'"}}}]}'
    ),
    "many lists": lambda: _whole(b'{"items":[' + b"[]," * 5_000_000 + b"[]]}"),
    "many keys": lambda: _whole(b"{" + b",".join(b'"%d":0' % n for n in range(1_000_000)) + b"}"),
    "deep": lambda: _whole(b"[" * 200_000 + b"]" * 200_000),
    "large number": lambda: _whole(b'{"items":[],"a":' + b"9" * 1_000_000 + b"}"),
    "one byte at a time": lambda: _chunked(itertools.chain([b"{"], itertools.repeat(b" "))),
    "endless headers": lambda: itertools.chain([HEAD], (b"X-%d: y\r\n" % n for n in itertools.count())),
    "a long header": lambda: itertools.chain([HEAD + b"X: "], itertools.repeat(BLOCK)),
    "endless refusal": lambda: _chunked(
        itertools.repeat(BLOCK), b"HTTP/1.1 500 Internal Server Error\r\nX: y\r\n"
    ),
    "compressed refusal": lambda: _whole(BOMB, b"HTTP/1.1 403 Forbidden\r\nContent-Encoding: gzip\r\n"),
    "endless line": lambda: _chunked(itertools.chain([b'{"type":"'], itertools.repeat(BLOCK))),
    "many objects": lambda: _chunked(map(_pod, itertools.count())),
    "large objects": lambda: _chunked(_pod(number, 1_000_000) for number in itertools.count()),
    "one object for ever": lambda: _chunked(itertools.repeat(_pod(1, 10))),
    "bookmarks for ever": lambda: _chunked(itertools.repeat(b'{"type":"BOOKMARK","object":{}}\n')),
    "empty lines for ever": lambda: _chunked(itertools.repeat(b"\n" * 65536)),
}


@asynccontextmanager
async def hostile_api() -> AsyncIterator[str]:
    """A server that answers each request for Pods in the namespace NAME with `ANSWERS[NAME]`."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                target = unquote(request.split(b" ", 2)[1].decode()).partition("?")[0]
                name = target.split("/")[4] if "/pods" in target else ""
                pieces = (
                    ANSWERS[name]() if name else _whole(b'{"metadata":{"resourceVersion":"1"},"items":[]}')
                )
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.3 if name == "one byte at a time" else 0)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.2)


async def _list(gateway: Gateway, name: str) -> None:
    await gateway.list_pods(name, {})


async def _watch(gateway: Gateway, name: str) -> None:
    async for _ in gateway.watch_pods(name, {}, "1"):
        pass


async def _log(gateway: Gateway, name: str) -> None:
    async with gateway.log(LogRequest(name, "pod", "claude", follow=False)) as log:
        while await log.read():
            pass


async def _informer(gateway: Gateway, name: str) -> None:
    nursery = Nursery()
    async with Informer(gateway, name, nursery, TIMINGS).job_watch(
        JobSnapshot(JobRef(name, "j", "u"), "1", None)
    ):
        await asyncio.sleep(2)
    await nursery.close()


CALLS: dict[str, Callable[[Gateway, str], Awaitable[None]]] = {
    "list": _list,
    "watch": _watch,
    "log": _log,
    "informer": _informer,
}


def _peak_megabytes() -> float:
    """The peak of this process's memory since the last call of this function."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return peak


async def _record_pauses(pauses: list[float]) -> None:
    """Append, again and again, the CPU seconds that the event loop's thread has used since the last time."""
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.01)
        pauses.append(time.thread_time() - before)


async def _measure(gateway: Gateway, call: str, answer: str) -> dict[str, Any]:
    error, pauses = "", [0.0]
    _peak_megabytes()  # starts a new peak
    before, began = _peak_megabytes(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_record_pauses(pauses))
        try:
            async with asyncio.timeout(30):
                await CALLS[call](gateway, answer)
        except (ClusterError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        ticking.cancel()
    grown, seconds = _peak_megabytes() - before, time.monotonic() - began
    return {"answer": answer, "error": error, "seconds": seconds, "megabytes": grown, "lag": max(pauses)}


async def _main(kubeconfig: str, calls: list[str]) -> None:
    gateway = Gateway(kubeconfig, TIMINGS)
    await gateway.list_leases("ns", {})  # loads the client library, which must not count for a call
    print(json.dumps([await _measure(gateway, *call.split(":")) for call in calls]))
    await gateway.close()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    asyncio.run(_main(sys.argv[1], sys.argv[2:]))
