"""The fixture `tested`, which runs each contract test on three clusters.

These are a cluster in memory on virtual time, the development cluster, and a real cluster. The first two
share the development cluster's code; only a real cluster is an independent test. The
real cluster is used if KUBECONFIG_FOR_TESTS is set.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.clusters import ContractCluster, dev_cluster, memory_cluster, real_cluster


@pytest.fixture(
    params=[
        pytest.param("memory", marks=pytest.mark.looptime),
        "devcluster",
        pytest.param("real", marks=pytest.mark.real),
    ]
)
async def tested(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContractCluster]:
    if request.param == "memory":
        opened = memory_cluster(tmp_path)
    elif request.param == "devcluster":
        opened = dev_cluster()
    else:
        opened = real_cluster(os.environ["KUBECONFIG_FOR_TESTS"])
    async with opened as tested:
        yield tested
