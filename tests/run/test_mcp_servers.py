"""MCP servers of the host, and the file of baseline MCP servers on a volume that agents can write to."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import a_context

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.context import StoppableContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.host.session import SESSION_CODEC
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.mcp_baseline import BASELINE_PATH, read_baseline
from paperclip_claude_k8s.run.mcp_servers import resolve_servers
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.testing import FakeCluster, HostLog, PodScript, capture

SERVER = {"name": "s", "url": "https://x.example", "token": "t", "connectionId": "c"}
pytestmark = pytest.mark.looptime


@dataclass(slots=True)
class Server:
    name: str = "s"
    url: str = "https://x.example"
    token: str = "t"
    connection_id: str = "c"


class Source:
    def __init__(self, servers: Any) -> None:
        self.servers = servers

    def get_servers(self) -> Any:
        return self.servers


class AsyncSource:
    async def getServers(self) -> Any:  # noqa: N802  # the wire's name
        await asyncio.sleep(1)
        return [SERVER]


class HangingSource:
    async def getServers(self) -> Any:  # noqa: N802  # the wire's name
        await asyncio.sleep(3600)


class RaisingSource:
    def get_servers(self) -> Any:
        raise RuntimeError("c4n4ry")


async def servers_from(source: Any) -> tuple[Any, HostLog]:
    host_log = HostLog()
    ctx = a_context(runtimeMcp=source, onLog=host_log.on_log)
    resolved = await resolve_servers(StoppableContext.of(ctx), Narrator(ctx))
    return resolved.runtime_mcp, host_log


@pytest.mark.parametrize(
    "source",
    [
        {"servers": [SERVER]},
        {"getServers": lambda: [SERVER]},
        [SERVER],
        Source([SERVER]),
        Source((Server(),)),
        AsyncSource(),
    ],
    ids=lambda source: type(source).__name__,
)
async def test_mcp_servers_are_accepted_in_every_form(source: Any) -> None:
    servers, host_log = await servers_from(source)
    assert servers == {"servers": [SERVER]}
    assert host_log.status == ""


async def test_missing_or_empty_source_yields_no_mcp_servers() -> None:
    assert (await servers_from(None))[0] is None
    assert (await servers_from({}))[0] == {"servers": []}


@pytest.mark.parametrize(
    "source", [RaisingSource(), HangingSource(), Source(3)], ids=lambda source: type(source).__name__
)
async def test_error_in_get_servers_is_a_warning_without_secrets(source: Any) -> None:
    servers, host_log = await servers_from(source)
    assert servers == {"servers": []}
    assert "Could not get MCP servers from the host" in host_log.status
    assert "c4n4ry" not in host_log.status


# Whole runs -------------------------------------------------------------------------------------------


async def test_session_is_resumed_only_with_the_same_mcp_servers(tmp_path: Path) -> None:
    commands: list[str] = []

    def pod_script_of(pod: dict[str, Any]) -> PodScript:
        commands.append(" ".join(pod["spec"]["containers"][0]["command"]))
        return PodScript(output=((0.0, capture("02")),), ends_at=1.0)

    async with FakeCluster.start(tmp_path, pod_script_of) as fake:
        adapter = Adapter(ProcessSettings(), lambda *_: fake.gateway)

        async def run(number: int, runtime: Any, *servers: Any) -> tuple[ExecutionResult, HostLog]:
            host_log = HostLog()
            ctx = {
                "runId": f"run-{number}",
                "agent": {"id": "ada"},
                "config": {"kubeconfig": "fake", "image": "x", "claimName": "paperclip-data"},
                "runtime": runtime,
                "runtimeMcp": Source(list(servers)),
                "onLog": host_log.on_log,
            }
            return await adapter.execute(ctx), host_log

        try:
            first, host_log = await run(1, {}, SERVER)
            stored = {"sessionParams": SESSION_CODEC.serialize(first.session_params)}
            await run(2, stored, {**SERVER, "token": "another"})
            _, fresh_log = await run(3, stored, {**SERVER, "connectionId": "other"})
        finally:
            await adapter.shutdown()
    assert "MCP servers (1): s" in host_log.status
    assert [f"--resume {first.session_id}" in command for command in commands] == [False, True, False]
    assert all("--strict-mcp-config" in command for command in commands)
    assert "Starting a fresh session: the set of MCP servers changed" in fresh_log.status


# The baseline file ------------------------------------------------------------------------------------

READS_BASELINE: Mapping[str, Any] = {"mcpServers": {"mine": {"command": "x"}}, "runAsUser": os.geteuid() + 1}
"""A config with which the baseline is read: it has a server, and agents run as another user than the host."""
BASE = {"mcpServers": {"base": {"command": "b"}}}


async def read_baseline_of(
    volume: Path | None, env: Mapping[str, str] | None = None, config: Mapping[str, Any] = READS_BASELINE
) -> Mapping[str, object]:
    adapter_config = AdapterConfig.read(config)
    settings = ProcessSettings(env=env or {})
    baseline = await read_baseline(a_context(), adapter_config, settings, str(volume) if volume else None)
    return baseline.servers


async def test_mcp_baseline_is_read_from_the_root_of_the_volume(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text(json.dumps(BASE))
    assert await read_baseline_of(tmp_path) == BASE["mcpServers"]


async def test_mcp_baseline_path_can_be_changed_or_disabled(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(BASE))
    assert await read_baseline_of(tmp_path, {BASELINE_PATH: "/paperclip/other.json"}) == BASE["mcpServers"]
    (tmp_path / ".mcp.json").write_text(json.dumps(BASE))
    assert await read_baseline_of(tmp_path, {BASELINE_PATH: ""}) == {}
    assert await read_baseline_of(tmp_path, {BASELINE_PATH: "/etc/passwd"}) == {}


async def test_mcp_baseline_is_not_read_without_servers_in_the_config_or_a_volume(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text(json.dumps(BASE))
    assert await read_baseline_of(tmp_path, config={}) == {}
    assert await read_baseline_of(volume=None) == {}


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", '{"mcpServers": 3}', "x" * (Limits().mcp_baseline_bytes + 1)]
)
async def test_malformed_mcp_baseline_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / ".mcp.json").write_text(text)
    assert await read_baseline_of(tmp_path) == {}


async def test_mcp_baseline_behind_a_link_is_not_read(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (tmp_path / "secret.json").write_text(json.dumps(BASE))
    (volume / ".mcp.json").symlink_to(tmp_path / "secret.json")
    (volume / "up").symlink_to(tmp_path)
    assert await read_baseline_of(volume) == {}
    assert await read_baseline_of(volume, {BASELINE_PATH: "/paperclip/up/secret.json"}) == {}
    assert await read_baseline_of(volume, {BASELINE_PATH: "/paperclip/../secret.json"}) == {}
