"""The Paperclip host's side of the bridge: starts the bridge, sends messages, acknowledges callbacks."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.cli_commands import SOURCE
from tests.support.runs import SMALL_REQUESTS

from paperclip_claude_k8s import __version__
from paperclip_claude_k8s.bridge.wire import PROTOCOL
from paperclip_claude_k8s.devcluster import DevCluster

Json = dict[str, Any]


def a_context(cluster: DevCluster, run: str, agent: str = "ada", **env: str) -> Json:
    """Return the context of one run on this cluster, as JSON."""
    config = {
        "kubeconfig": str(cluster.kubeconfig),
        "image": "local/agent:1",
        "claimName": "paperclip-data",
        **SMALL_REQUESTS,
        "env": {"CLAUDE_LINE_DELAY": "0.01", **env},
    }
    return {
        "runId": run,
        "agent": {"id": agent, "companyId": "acme", "name": agent},
        "runtime": {"sessionId": None, "sessionParams": None},
        "config": config,
        "context": {"taskId": f"task-of-{agent}", "paperclipTaskMarkdown": "Say hello."},
    }


@dataclass(slots=True)
class Peer:
    """The bridge's process, and every message received from it."""

    process: asyncio.subprocess.Process
    received: list[Json] = field(default_factory=list)
    acknowledges: bool = True
    """Whether `next` acknowledges each callback."""
    _calls: int = 0

    def send(self, message: Mapping[str, Any]) -> None:
        self.send_raw(json.dumps(message).encode() + b"\n")

    def send_raw(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)

    def call(self, method: str, **params: Any) -> int:
        """Send a call and return its id."""
        self._calls += 1
        self.send({"type": "call", "id": self._calls, "method": method, "params": params})
        return self._calls

    def acknowledge(self, message: Json) -> None:
        self.send({"type": "ack", "id": message["id"], "n": message["n"]})

    async def next(self) -> Json:
        """Return the next message."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the bridge has ended"
        message: Json = json.loads(line)
        self.received.append(message)
        if message["type"] == "callback" and self.acknowledges:
            self.acknowledge(message)
        return message

    async def response(self, call: int) -> Json:
        """Return the `result` or `error` message of the call."""
        while True:
            message = await self.next()
            if message["type"] in {"result", "error"} and message["id"] == call:
                return message

    async def next_callback(self, call: int, name: str, containing: str = "") -> Json:
        """Return the next callback of this name whose arguments contain `containing`."""
        while True:
            message = await self.next()
            if (message.get("id"), message.get("name")) == (call, name) and containing in str(
                message["args"]
            ):
                return message

    def callbacks(self, call: int, name: str) -> list[Json]:
        """Return the callbacks received so far of this call and name."""
        return [m for m in self.received if m["type"] == "callback" and (m["id"], m["name"]) == (call, name)]

    def stdout_of(self, call: int) -> str:
        """Return the agent's own output: every chunk except the adapter's status lines."""
        chunks = [message["args"] for message in self.callbacks(call, "onLog")]
        return "".join(
            text for stream, text in chunks if stream == "stdout" and not text.startswith("[paperclip]")
        )

    async def close_stdin(self) -> tuple[int, str]:
        """Close stdin, as when the host exits; return exit code and stderr."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.wait()

    async def wait(self) -> tuple[int, str]:
        """Wait until the process ends; return exit code and stderr."""
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        stderr = (await self.process.stderr.read()).decode()
        await self.process.stdout.read()
        return await self.process.wait(), stderr

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@asynccontextmanager
async def a_bridge(env: Mapping[str, str] | None = None, *, greet: bool = True) -> AsyncIterator[Peer]:
    """Start a bridge, and stop it at the end of the block. `greet`: exchange the hello messages first."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "paperclip_claude_k8s.bridge"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE, **(env or {})},
        limit=64 * 1024 * 1024,
    )
    peer = Peer(process)
    try:
        if greet:
            peer.send({"type": "hello", "protocol": PROTOCOL, "version": __version__})
            assert (await peer.next())["type"] == "hello"
        yield peer
    finally:
        if process.returncode is None:
            await peer.close_stdin()
