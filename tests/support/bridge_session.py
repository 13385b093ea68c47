"""A bridge session in this process, on pipes, with a stub of the adapter and a stub of the host."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from paperclip_claude_k8s import __version__, create_server_adapter
from paperclip_claude_k8s.bridge.channel import Channel
from paperclip_claude_k8s.bridge.host_session import HostSession
from paperclip_claude_k8s.bridge.redacting_formatter import RedactingFormatter
from paperclip_claude_k8s.bridge.wire import PROTOCOL

Json = dict[str, Any]
LOG_LINES = 20
"""Number of lines that each run logs."""


@dataclass(frozen=True)
class StubResult:
    value: object

    def to_wire(self) -> object:
        return self.value


@dataclass
class StubAdapter:
    """Every run logs `LOG_LINES` lines and returns `value_of(ctx)`."""

    value_of: Callable[[Json], object] = lambda ctx: {"exitCode": 0, "runId": ctx.get("runId")}
    models: Sequence[Json] = ()
    session_codec: Any = create_server_adapter().session_codec

    async def execute(self, ctx: Json) -> StubResult:
        for number in range(LOG_LINES):
            await ctx["onLog"]("stdout", f"line {number}\n")
        return StubResult(self.value_of(ctx))

    async def test_environment(self, ctx: Json) -> StubResult:
        return StubResult({"status": "ok"})

    async def list_skills(self, ctx: Json) -> object:
        return {}

    async def sync_skills(self, ctx: Json, desired: object) -> object:
        return {}

    async def list_models(self) -> object:
        return []

    refresh_models = detect_model = get_quota_windows = list_models

    def get_config_schema(self) -> object:
        return {}

    async def shutdown(self) -> None:
        return


@dataclass
class StubHost:
    """The host's side of a session: the messages that it received."""

    received: list[Json] = field(default_factory=list)

    def responses(self, call: int) -> list[Json]:
        return [m for m in self.received if m["type"] in {"result", "error"} and m["id"] == call]

    def log(self, call: int) -> list[str]:
        return [m["args"][1] for m in self.received if m["type"] == "callback" and m["id"] == call]


def call_line(call: int, method: str, **params: Any) -> bytes:
    return json.dumps({"type": "call", "id": call, "method": method, "params": params}).encode() + b"\n"


async def talk(adapter: StubAdapter, *pieces: bytes, until: Sequence[int]) -> StubHost:
    """Greet a session and send it the pieces of input.

    The pipe is closed when the calls with the ids `until` have responses. Every callback is acknowledged.
    """
    host = StubHost()
    hello = {"type": "hello", "protocol": PROTOCOL, "version": __version__}
    async with _pipes() as (channel, reader, writer):
        served = HostSession(adapter, channel, RedactingFormatter())  # type: ignore[arg-type]
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(served.serve(asyncio.Event()))
            for piece in (json.dumps(hello).encode() + b"\n", *pieces):
                writer.write(piece)
            while not all(host.responses(call) for call in until):
                message = json.loads(await reader.readline())
                host.received.append(message)
                if message["type"] == "callback":
                    ack = {"type": "ack", "id": message["id"], "n": message["n"]}
                    writer.write(json.dumps(ack).encode() + b"\n")
            writer.close()
        channel.close()
        host.received.extend(json.loads(line) for line in (await reader.read()).splitlines())
    return host


@asynccontextmanager
async def _pipes() -> AsyncIterator[tuple[Channel, asyncio.StreamReader, asyncio.StreamWriter]]:
    """The bridge's channel, and the host's ends of its pipes."""
    (from_host, to_bridge), (from_bridge, to_host) = os.pipe(), os.pipe()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    with os.fdopen(from_host, "rb") as source, os.fdopen(to_host, "wb", buffering=0) as sink:
        channel = await Channel.over(source, sink)
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_bridge, "rb")
        )
        writing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(to_bridge, "wb")
        )
        yield channel, reader, asyncio.StreamWriter(writing, protocol, None, loop)
        reading.close()
        writing.close()
