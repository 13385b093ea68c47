"""Requests of a quiet run to the API server, counted on virtual time.

Allowed: five requests per minute of the process, eleven for the start and end of each run, and one per minute
of each run, or a fifth of that if the relay's bookmarks show that the log still flows. Runs with bookmarks
usually read their home pod. The runs here do not, so this read is added to their requests.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import one_host

from paperclip_claude_k8s.testing import FakeCluster, PodScript, capture

pytestmark = pytest.mark.looptime
FIRST_LINE, REST = capture("02").split(b"\n", 1)
BOOKMARK_INTERVAL = 20.0
"""Seconds between two bookmarks of the relay."""


def quiet_agent(seconds: float, *, bookmarks: bool) -> Any:
    """A function that returns the script of a Pod which prints one line, and the rest after `seconds`."""

    def pod_script_of(pod: Any) -> PodScript:
        env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
        bookmark = f"\x1e{env['PAPERCLIP_RELAY_NONCE']} b {len(FIRST_LINE) + 1} 1\n".encode()
        times = (
            [BOOKMARK_INTERVAL * n for n in range(1, int(seconds / BOOKMARK_INTERVAL))] if bookmarks else []
        )
        output = [(0.0, FIRST_LINE + b"\n"), *((at, bookmark) for at in times), (seconds, REST)]
        return PodScript(output=tuple(output), ends_at=seconds, summarized=bookmarks)

    return pod_script_of


async def count_requests(fake: FakeCluster, run: Any, runs: int) -> tuple[int, float]:
    """The number of requests, and the minutes until the runs have ended."""
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(run(runId=f"run-{n}", agent={"id": f"agent-{n}", "companyId": "co"}))
            for n in range(runs)
        ]
    minutes = (asyncio.get_running_loop().time() - began) / 60
    assert [task.result()[0].error_message for task in running] == [None] * runs
    await asyncio.sleep(5)
    return len(fake.calls.made), minutes


@pytest.mark.parametrize(
    ("bookmarks", "per_run_minute", "home_pod_reads"),
    [pytest.param(True, 0.2, 1, id="bookmarks"), pytest.param(False, 1.0, 0, id="no bookmarks")],
)
@pytest.mark.parametrize(("runs", "seconds"), [(1, 120), (1, 1200), (20, 120)])
async def test_quiet_runs_stay_within_the_request_budget(
    tmp_path: Path, runs: int, seconds: float, per_run_minute: float, home_pod_reads: int, *, bookmarks: bool
) -> None:
    async with one_host(tmp_path, quiet_agent(seconds, bookmarks=bookmarks)) as (fake, run):
        made, minutes = await count_requests(fake, run, runs)
    assert made + home_pod_reads * runs <= 5 * minutes + runs * (11 + per_run_minute * minutes), (
        fake.calls.made
    )
