"""A kubelet that rotates the log during a run: all output of the agent arrives, or the gap is reported.

The kubelet must rotate at 64 KiB. `KUBELET_LOG_LIMIT=64Ki` says that it does. Without this variable each test
restarts the kubelet, and must not run beside other tests.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.faulty_runs import (
    assert_whole,
    control_cluster,
    expected_lines,
    numbered_lines_script,
    through_proxy,
    wait_for_more_lines,
    with_fault,
)
from tests.support.file_event import FileEvent
from tests.support.real_cluster import VOLUME, wait_for_output, wait_until
from tests.support.runs import Site

from paperclip_claude_k8s.cluster.port import LogRequest
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real
LOG_LIMIT = "64Ki"


PREFIX = f"wide-{'w' * 1500}-"
"""Lines with this prefix are so long that the kubelet finds a log of `LOG_LIMIT` too large at each check."""


def printing_script(end_event: FileEvent) -> str:
    """A script that prints long numbered lines until the event."""
    return f"w=$(head -c 1500 /dev/zero | tr '\\0' w); {numbered_lines_script(end_event, prefix='wide-$w-')}"


async def wait_for_rotation(real: Site, pod: str, after_line: int) -> None:
    """Wait until the cluster's log of the Pod begins after this line."""

    async def rotated() -> bool:
        data = b""
        async with real.gateway.log(LogRequest(real.namespace, pod, "claude", follow=False)) as log:
            while not (first := re.search(rb"-line-(\d+)\.", data)) and (more := await log.read()):
                data += more
        return first is not None and int(first[1]) > after_line

    await wait_until(rotated)


def pod_of(host_log: HostLog) -> str:
    """Name of the running Pod, from the status lines of the run."""
    return host_log.status.partition("Pod running: ")[2].split()[0]


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
async def test_rotated_lines_are_restored_from_the_volume_or_reported_as_a_gap(
    real: Site,
    tmp_path: Path,
    tee: bool,  # noqa: FBT001
) -> None:
    assert VOLUME, "SHARED_VOLUME_FOR_TESTS must name the shared volume's folder on this machine"
    end_event = FileEvent.on_volume()
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def unplug() -> None:
            await wait_for_output(host_log, "line-30.")
            proxy.unplug()
            await asyncio.sleep(1)  # bytes that are under way still arrive
            received = host_log.stdout.count("\n")
            await wait_for_rotation(real, pod_of(host_log), after_line=received + 30)
            proxy.plug_in()
            await wait_for_more_lines(host_log)
            end_event.set()

        config |= {"sharedVolumeDir": VOLUME, "teeRunLog": tee}
        run = real.run({"CLAUDE_SCRIPT": printing_script(end_event)}, host_log=host_log, config=config)
        result, _ = await with_fault(run, unplug())
    expected = expected_lines(result, PREFIX)
    if tee:
        assert_whole(result, host_log, expected)
        assert "restored from the shared volume" in host_log.status
    else:
        assert_gap_reported(result, host_log, expected)


@pytest.mark.usefixtures("small_logs")
async def test_lines_that_streams_miss_at_a_rotation_are_restored_in_order(real: Site) -> None:
    """At a rotation, most log streams of an old kubelet stay at the rotated file, or miss its last lines."""
    assert VOLUME, "SHARED_VOLUME_FOR_TESTS must name the shared volume's folder on this machine"
    end_event = FileEvent.on_volume()
    config = {"sharedVolumeDir": VOLUME, "teeRunLog": True}
    script = {"CLAUDE_SCRIPT": printing_script(end_event)}
    logs = [HostLog() for _ in range(5)]

    async def see_rotations(host_log: HostLog) -> None:
        await wait_for_output(host_log, "line-1.")
        for line in (1, 150):  # two rotations
            await wait_for_rotation(real, pod_of(host_log), after_line=line)

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(real.run(script, host_log=log, config=config)) for log in logs]
        async with asyncio.TaskGroup() as seeing:
            for log in logs:
                seeing.create_task(see_rotations(log))
        end_event.set()
    for run in runs:
        result, host_log = run.result()
        assert_whole(result, host_log, expected_lines(result, PREFIX))


def assert_gap_reported(result: ExecutionResult, host_log: HostLog, expected: str) -> None:
    """Check that one gap is reported, with times and exact size, and that the rest arrived in order."""
    assert result.result_json is not None
    log = result.result_json["log"]
    assert log["complete"] is False
    (gap,) = log["gaps"]
    assert gap["since"] < gap["until"]
    assert gap["since"][:19] in host_log.status  # without fractions of a second
    *received, _result = host_log.stdout.splitlines()
    assert [line for line in expected.splitlines() if line in set(received)] == received
    missing = len(expected) - sum(len(line) + 1 for line in received)
    assert gap["bytes"] == missing
