from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.cli_commands import CommandLine
from tests.support.dev_cluster_cli import DevClusterCli

from paperclip_claude_k8s.devcluster import DevCluster


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[DevClusterCli]:
    """A command line on a development cluster of its own."""
    async with DevCluster.start() as cluster:
        yield DevClusterCli(cluster, CommandLine(tmp_path))
