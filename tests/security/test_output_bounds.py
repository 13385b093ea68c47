"""Memory and CPU have a bound for every output of one agent, from the log to the result."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.hostile_output import MEMORY, NORMAL, OUTPUTS, STEP

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Any]]:
    """What each output cost, by its name."""
    command = [sys.executable, "-m", "tests.support.hostile_output"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, timeout=500)
    costs = [json.loads(line) for line in done.stdout.splitlines()]
    return {cost["name"]: cost | {"stderr": done.stderr[-2000:]} for cost in costs}


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_stays_within_the_bounds(name: str, measured: dict[str, dict[str, Any]]) -> None:
    cost = measured[name]
    assert not cost.get("failed"), cost["stderr"]
    assert cost["peak_mb"] <= MEMORY
    assert cost["slowest_step"] <= STEP
    assert cost["result_mb"] <= 7  # the size of the longest answer in UTF-8


@pytest.mark.parametrize("name", NORMAL)
def test_large_output_of_an_ordinary_run_is_a_success(name: str, measured: dict[str, dict[str, Any]]) -> None:
    assert measured[name]["result"].get("errorCode") is None
