"""The fixture `runner`, with which a test is run once for each shell."""

from pathlib import Path

import pytest
from tests.support.relay_shells import SHELLS, RelayRunner, relay_runner


@pytest.fixture(params=SHELLS)
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> RelayRunner:
    return relay_runner(request.param, tmp_path)
