"""The fixture `world`, which runs each contract test on three clusters.

These are a cluster in memory on virtual time, the development cluster, and a real cluster. The first two
share the development cluster's code; only a real cluster is an independent test. It is used if
KUBECONFIG_FOR_TESTS is set.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.clusters import World, dev_world, memory_world, real_world


@pytest.fixture(
    params=[
        pytest.param("memory", marks=pytest.mark.looptime),
        "devcluster",
        pytest.param("real", marks=pytest.mark.real),
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        opened = memory_world(tmp_path)
    elif request.param == "devcluster":
        opened = dev_world()
    else:
        opened = real_world(os.environ["KUBECONFIG_FOR_TESTS"])
    async with opened as world:
        yield world
