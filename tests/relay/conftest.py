"""The fixture `pod`, which runs a test once with each shell."""

from pathlib import Path

import pytest
from tests.support.relay_shells import SHELLS, Pod, pod_of


@pytest.fixture(params=sorted(SHELLS))
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Pod:
    return pod_of(request.param, tmp_path)
