"""Runs that are refused before a Job is created: remote targets, and settings that need a newer server."""

from pathlib import Path
from typing import Any

import pytest

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, HostLog

pytestmark = pytest.mark.looptime


class VersionedGateway(Gateway):
    """A gateway to a server of this version; None: the version cannot be read."""

    version: tuple[int, int] | None = (1, 28)
    requests = 0

    async def server_version(self) -> tuple[int, int]:
        self.requests += 1
        if self.version is None:
            raise ClusterError(403, "Forbidden", "no version for you")
        return self.version


async def run_on(
    folder: Path, version: tuple[int, int] | None, **config: Any
) -> tuple[ExecutionResult, HostLog, VersionedGateway, int]:
    """The result, the host's log, the gateway, and the number of Jobs that were created."""
    async with FakeCluster.start(folder) as fake:
        server, host_log = VersionedGateway(http=fake.connection), HostLog()
        server.version = version
        adapter = Adapter(ProcessSettings(), lambda *_: server)
        given = {"kubeconfig": "fake", "image": "x", **config}
        try:
            ctx = {"runId": "run-1", "agent": {"id": "ada"}, "config": given, "onLog": host_log.on_log}
            result = await adapter.execute(ctx)
        finally:
            await adapter.shutdown()
        return result, host_log, server, fake.calls.count("create", JOBS.plural)


@pytest.mark.parametrize(
    ("config", "version", "message"),
    [
        ({"enableDocker": True}, (1, 28), "enableDocker needs Kubernetes 1.29 or newer, this"),
        ({"queueName": "q"}, (1, 23), "queueName needs Kubernetes 1.24 or newer, this"),
    ],
)
async def test_setting_that_needs_a_newer_server_is_refused(
    tmp_path: Path, config: dict[str, Any], version: tuple[int, int], message: str
) -> None:
    result, _, _, created = await run_on(tmp_path, version, **config)
    assert result.error_code == "k8s_config_invalid"
    assert message in (result.error_message or "")
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert created == 0


async def test_unknown_server_version_is_a_warning(tmp_path: Path) -> None:
    result, host_log, _, created = await run_on(tmp_path, version=None, enableDocker=True)
    assert result.error_code != "k8s_config_invalid"
    assert created == 1
    assert "Could not read the API server's version" in host_log.status
    assert "enableDocker may have no effect" in host_log.status


async def test_server_version_is_read_only_if_needed(tmp_path: Path) -> None:
    _, _, server, created = await run_on(tmp_path, (1, 16))
    assert (server.requests, created) == (0, 1)


@pytest.mark.parametrize(
    ("target", "refused"),
    [
        (None, False),
        ({}, False),
        ({"kind": "local", "environmentId": "e"}, False),
        ({"kind": "remote", "transport": "ssh"}, True),
        ({"kind": "remote"}, True),
    ],
)
async def test_remote_execution_target_is_refused(
    tmp_path: Path,
    target: Any,
    refused: bool,  # noqa: FBT001
) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        adapter, host_log = Adapter(ProcessSettings(), lambda *_: fake.gateway), HostLog()
        ctx = {"runId": "r", "agent": {"id": "ada"}, "executionTarget": target, "onLog": host_log.on_log}
        try:
            result = await adapter.execute({**ctx, "config": {"kubeconfig": "fake", "image": "x"}})
        finally:
            await adapter.shutdown()
        assert (result.error_code == "k8s_config_invalid") is refused
        assert fake.calls.count("create", "jobs") == (0 if refused else 1)
        assert not refused or "choose the local environment" in (result.error_message or "")
