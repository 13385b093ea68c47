"""Memory and CPU have a bound for every output of one agent, from the log to the result."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.hostile_output import MAX_MEMORY_MB, MAX_STEP_SECONDS, NORMAL, OUTPUTS

PROJECT = Path(__file__).parents[2]


def measure(name: str) -> tuple[dict[str, Any], str]:
    """Read an output in a process of its own; return what that cost, and the end of the process's stderr."""
    command = [sys.executable, "-m", "tests.support.hostile_output", name]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, timeout=100)
    return json.loads(done.stdout), done.stderr.decode()[-2000:]


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_stays_within_the_bounds(name: str) -> None:
    cost, stderr = measure(name)
    assert not cost.get("failed"), stderr
    assert cost["peak_mb"] <= MAX_MEMORY_MB
    assert cost["slowest_step"] <= MAX_STEP_SECONDS
    assert cost["result_mb"] <= 7  # the size of the longest answer in UTF-8
    if name in NORMAL:
        assert cost["result"].get("errorCode") is None
