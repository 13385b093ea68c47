"""A host in its home pod on the in-memory cluster, with image, volume, Secrets and env for Jobs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.checks.bench import Bench, open_bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as opened:
        yield opened
