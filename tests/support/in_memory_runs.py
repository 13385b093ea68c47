"""Runs on a cluster in memory, by one adapter or by two host processes, and what their Pods do."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.hosts import Host

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, HostLog, PodScript, build_context, capture

WHOLE = capture("02")
"""A complete output of the Claude CLI with a good result."""
PARTIAL = WHOLE[: WHOLE.index(b'{"type":"result"')]
"""The part of `WHOLE` before its result."""
GOOD = PodScript.succeeding()
"""Prints `WHOLE` at once and exits after 2 s."""
QUIET = PodScript(output=((0.0, WHOLE.split(b"\n", 1)[0] + b"\n"), (200.0, WHOLE)), ends_at=201.0)
"""Prints the first line of `WHOLE` at once, then nothing for 200 s, and then `WHOLE`."""
LONG = PodScript.working(300.0)
"""Prints everything but its result at once, and the result after 300 s."""
SLOW_START = PodScript(
    waiting=((5.0, "ContainerCreating", ""), (3.0, "CreateContainerConfigError", "secret not found")),
    output=((0.0, WHOLE),),
    ends_at=4.0,
)
"""Waits 8 s before its container starts, then prints the whole output at once."""
FOREVER = 9e9
"""Seconds; longer than any test."""
SESSION = "5b2f899d-026f-4619-ac69-4537ef7d22eb"
"""Id of a session to resume; `WHOLE` is the output of another session."""
UNKNOWN_SESSION_OUTPUT = (
    '{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":0,'
    f'"session_id":"{SESSION}","errors":["No conversation found with session ID: {SESSION}"]}}\n'
).encode()
"""Printed by a CLI that cannot find the session that it should resume."""

Run = Callable[..., Coroutine[Any, Any, tuple[ExecutionResult, HostLog]]]
"""Runs one agent. Keyword arguments replace entries of the context; `config` extends the default config."""


@asynccontextmanager
async def one_host(
    folder: Path, pod_script: PodScript | Callable[[Any], PodScript], settings: ProcessSettings | None = None
) -> AsyncIterator[tuple[FakeCluster, Run]]:
    """A cluster whose Pods follow this script, and a function that runs an agent on it."""
    async with FakeCluster.start(folder, pod_script) as fake:
        adapter = Adapter(settings or ProcessSettings(), lambda _source, _settings: fake.gateway)

        async def run(host_log: HostLog | None = None, **more: Any) -> tuple[ExecutionResult, HostLog]:
            host_log = host_log or HostLog()
            ctx = build_context(host_log, **{"onSpawn": host_log.on_spawn, **more})
            return await adapter.execute(ctx), host_log

        try:
            yield fake, run
        finally:
            await adapter.shutdown()


def count_jobs(fake: FakeCluster) -> int:
    return sum(1 for _ in fake.store.list(JOBS))


@asynccontextmanager
async def two_hosts(
    folder: Path, pod_script: PodScript | Callable[[Any], PodScript]
) -> AsyncIterator[tuple[FakeCluster, Host, Host]]:
    """A cluster whose Pods follow this script, and two host processes on it."""
    async with FakeCluster.start(folder, pod_script) as fake:
        one, two = Host(fake, "host-one"), Host(fake, "host-two")
        try:
            yield fake, one, two
        finally:
            one.connection.restore()  # tests disconnect only this host
            await one.adapter.shutdown()
            await two.adapter.shutdown()


def assert_whole(result: ExecutionResult, host_log: HostLog) -> None:
    assert result.error_message is None
    assert host_log.stdout.encode() == WHOLE
    assert result.session_id is not None
