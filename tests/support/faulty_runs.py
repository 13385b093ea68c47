"""For runs on a real cluster with a fault: numbered output, ways to cause the fault, a check of the log."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.file_event import FileEvent
from tests.support.flaky_proxy import FlakyProxy, flaky_proxy
from tests.support.real_cluster import PRINT_RESULT, wait_until
from tests.support.runs import Site

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

CTL_SCRIPT = os.environ.get("CLUSTER_CTL", "")
"""Script that starts, stops and kills a part of the cluster, such as the kubelet."""
CTL_TRIES = 3
"""Attempts per call: the script sometimes fails because of a race with grep."""


async def control_cluster(*arguments: str, **env: str) -> None:
    """Run the script with these arguments, and with `env` added to its environment.

    Raises:
        AssertionError: `CLUSTER_CTL` is not set, or the script failed.
    """
    assert CTL_SCRIPT, "CLUSTER_CTL must name the script that starts and stops the cluster's parts"
    for _ in range(CTL_TRIES):
        process = await asyncio.create_subprocess_exec(
            CTL_SCRIPT, *arguments, env={**os.environ, **env}, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() == 0:
            return
    raise AssertionError(f"{arguments} failed {CTL_TRIES} times")


@asynccontextmanager
async def through_proxy(real: Site, folder: Path) -> AsyncIterator[tuple[FlakyProxy, dict[str, Any]]]:
    """A proxy, and the config that makes all connections of the adapter go through it."""
    async with flaky_proxy(str(real.config["kubeconfig"]), folder) as (proxy, kubeconfig):
        yield proxy, {"kubeconfig": kubeconfig}
        # while the proxy still runs, because the adapter deletes its Lease through the proxy
        assert await real.leftovers() == []


RunOutcome = tuple[ExecutionResult, HostLog]
"""The result of a run, and what its host has received."""


async def with_fault(run: Coroutine[Any, Any, RunOutcome], fault: Coroutine[Any, Any, None]) -> RunOutcome:
    """Cause the fault during the run, and return the result and log of the run."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run)
        group.create_task(fault)
    return running.result()


def numbered_lines_script(end: FileEvent, step: float = 0.1, prefix: str = "") -> str:
    """A script that prints numbered lines until the event `end`, and then a result with the count of lines.

    `step`: seconds between two lines. `prefix`: beginning of each line.
    """
    return f"""i=1; while echo {prefix}line-$i.; ! [ -e {end.in_pod} ]; do i=$((i+1)); sleep {step}; done
{PRINT_RESULT} $i"""


async def wait_for_more_lines(host_log: HostLog, count: int = 30) -> None:
    """Wait until the host has received at least so many more lines of the agent than now."""
    wanted = host_log.stdout.count("\n") + count

    async def received() -> bool:
        return host_log.stdout.count("\n") >= wanted

    await wait_until(received)


def expected_lines(result: ExecutionResult, prefix: str = "") -> str:
    """The lines that `numbered_lines_script` prints. The run's summary says how many."""
    return "".join(f"{prefix}line-{i}.\n" for i in range(1, int(result.summary or "0") + 1))


def assert_whole(result: ExecutionResult, host_log: HostLog, expected: str) -> dict[str, Any]:
    """Check that the lines arrived once, in order, and that the log is reported as complete; return `log`."""
    received = host_log.stdout
    pairs = enumerate(zip(received, expected, strict=False))
    at = next((index for index, (char, wanted) in pairs if char != wanted), len(received))
    assert received.startswith(expected), f"differs at {at}: {received[at : at + 200]!r}"
    assert received.count("\n") <= expected.count("\n") + 1  # the result is one more line
    assert result.error_message is None, result.error_message
    assert result.result_json is not None
    log: dict[str, Any] = result.result_json["log"]
    assert log["complete"] is True, log
    assert log["gaps"] == []
    return log
