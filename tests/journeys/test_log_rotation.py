"""A kubelet that rotates the log during a run: all output of the agent arrives, or the gap is reported.

The kubelet must rotate at 64 KiB. `KUBELET_LOG_LIMIT=64Ki` says that it does. Without this variable each test
restarts the kubelet, and must not run beside other tests.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.faulty_runs import assert_whole, control_cluster, numbered_lines, through_proxy, with_fault
from tests.support.real_cluster import VOLUME, wait_for_output
from tests.support.runs import Site

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real
LOG_LIMIT = "64Ki"


def long_numbered_lines(count: int, step: float) -> tuple[str, str]:
    """As `numbered_lines`, but so long that the kubelet finds a small log too large at each check."""
    script, expected = numbered_lines(count, step)
    wide = "echo wide-$(head -c 1500 /dev/zero | tr '\\0' w)-line"
    return script.replace("echo line", wide), expected.replace("line", f"wide-{'w' * 1500}-line")


@pytest.fixture
async def small_logs() -> AsyncIterator[None]:
    """A kubelet that rotates a container's log at `LOG_LIMIT`."""
    if os.environ.get("KUBELET_LOG_LIMIT") == LOG_LIMIT:
        yield
        return
    await control_cluster("stop", "kubelet")
    await control_cluster("start", "kubelet", CONTAINER_LOG_MAX_SIZE=LOG_LIMIT)
    yield
    await control_cluster("stop", "kubelet")
    await control_cluster("start", "kubelet")


@pytest.mark.usefixtures("small_logs")
@pytest.mark.parametrize("tee", [True, False])
async def test_rotated_log_is_backfilled_from_the_volume_or_reported(
    real: Site,
    tmp_path: Path,
    tee: bool,  # noqa: FBT001
) -> None:
    assert VOLUME, "SHARED_VOLUME_FOR_TESTS must name the shared volume's folder on this machine"
    script, expected = long_numbered_lines(600, 0.1)
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def unplug() -> None:
            await wait_for_output(host_log, "line-30-of")
            proxy.unplug()
            await asyncio.sleep(35)
            proxy.plug_in()

        config |= {"sharedVolumeDir": VOLUME, "teeRunLog": tee}
        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": script}, host_log=host_log, config=config), unplug()
        )
    if tee:
        assert_whole(result, host_log, expected)
        assert "restored from the shared volume" in host_log.status
    else:
        assert_gap_reported(result, host_log, expected)


@pytest.mark.usefixtures("small_logs")
async def test_lines_lost_at_a_rotation_are_backfilled_in_order(real: Site) -> None:
    """At a rotation, most log streams of an old kubelet stay at the rotated file, or miss its end."""
    assert VOLUME, "SHARED_VOLUME_FOR_TESTS must name the shared volume's folder on this machine"
    script, expected = long_numbered_lines(400, 0.1)
    config = {"sharedVolumeDir": VOLUME, "teeRunLog": True}
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(real.run({"CLAUDE_SCRIPT": script}, config=config)) for _ in range(5)]
    for run in runs:
        assert_whole(*run.result(), expected)


def assert_gap_reported(result: ExecutionResult, host_log: HostLog, expected: str) -> None:
    """Check that one gap is reported, with times and exact size, and that the rest arrived in order."""
    assert result.result_json is not None
    log = result.result_json["log"]
    assert log["complete"] is False
    (gap,) = log["gaps"]
    assert gap["since"] < gap["until"]
    assert gap["since"][:19] in host_log.status
    received = host_log.stdout.splitlines()[:-1]
    assert [line for line in expected.splitlines() if line in set(received)] == received
    missing = len(expected) - sum(len(line) + 1 for line in received)
    assert gap["bytes"] == missing
