from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.cli_commands import CommandRunner
from tests.support.dev_cluster_cli import DevClusterCli

from paperclip_claude_k8s.devcluster import DevCluster


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[DevClusterCli]:
    """Commands whose runs are on a development cluster, which is started for each test."""
    async with DevCluster.start() as cluster:
        yield DevClusterCli(cluster, CommandRunner(tmp_path))
