"""The clusters of the journeys, which are tests of complete runs: a development cluster and a real one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.captures import capture_file
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_cluster import IN_HOME_POD
from tests.support.real_namespace import NAMESPACE
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import capture

REAL_KUBECONFIG = os.environ.get("KUBECONFIG_FOR_TESTS", "")


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Each of the two clusters, with an adapter that uses it."""
    if request.param == "real":
        async with _open("real", _real_config(), NAMESPACE, IN_HOME_POD, capture_file) as real_site:
            yield real_site
        return

    def capture_path(name: str) -> str:
        path = tmp_path / capture_file(name)
        path.write_bytes(capture(name))
        return str(path)

    async with DevCluster.start() as cluster:
        config = {"kubeconfig": str(cluster.kubeconfig), "image": "local/agent:1"}
        async with _open("devcluster", config, cluster.namespace, {}, capture_path) as dev:
            yield dev


@asynccontextmanager
async def _open(
    name: str, config: dict[str, Any], namespace: str, env: dict[str, str], capture_ref: Any
) -> AsyncIterator[Site]:
    settings = ProcessSettings(env=env, policy=TEMPORARY_FOLDERS)
    adapter, gateway = Adapter(settings), Gateway(config["kubeconfig"])
    try:
        yield Site(name, adapter, gateway, namespace, config, capture_ref)
    finally:
        await adapter.shutdown()
        await gateway.close()
        await asyncio.sleep(0.1)  # a connection that was cancelled in its TLS handshake closes a little later


@pytest.fixture
async def real() -> AsyncIterator[Site]:
    """The real cluster alone, for journeys that need a real kubelet."""
    async with _open("real", _real_config(), NAMESPACE, IN_HOME_POD, capture_file) as site:
        yield site


def _real_config() -> dict[str, Any]:
    return {"kubeconfig": REAL_KUBECONFIG, "imagePullPolicy": "Never"}
