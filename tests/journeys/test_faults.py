"""Crashes of the API server and the kubelet during a run: every byte of the agent's output arrives."""

import asyncio

import pytest
from tests.support.faulty_runs import (
    assert_whole,
    control_cluster,
    expected_lines,
    numbered_lines_script,
    wait_for_more_lines,
    with_fault,
)
from tests.support.file_event import FileEvent
from tests.support.runs import Site

from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real


async def test_log_is_whole_after_three_api_server_crashes(real: Site) -> None:
    host_log, end_event = HostLog(), FileEvent.on_volume()

    async def kill_three_times() -> None:
        for _ in range(3):
            await wait_for_more_lines(host_log)
            await control_cluster("kill", "apiserver")
            await asyncio.sleep(2)
            await control_cluster("start", "apiserver")
        await wait_for_more_lines(host_log)
        end_event.set()

    run = real.run({"CLAUDE_SCRIPT": numbered_lines_script(end_event)}, host_log=host_log)
    result, _ = await with_fault(run, kill_three_times())
    log = assert_whole(result, host_log, expected_lines(result))
    assert log["reconnects"] >= 3
    assert await real.leftovers() == []


async def test_log_is_whole_after_a_kubelet_restart(real: Site) -> None:
    host_log, end_event = HostLog(), FileEvent.on_volume()

    async def restart_kubelet() -> None:
        await wait_for_more_lines(host_log)
        await control_cluster("kill", "kubelet")
        await asyncio.sleep(5)
        await control_cluster("start", "kubelet")
        await wait_for_more_lines(host_log)
        end_event.set()

    run = real.run({"CLAUDE_SCRIPT": numbered_lines_script(end_event)}, host_log=host_log)
    result, _ = await with_fault(run, restart_kubelet())
    assert_whole(result, host_log, expected_lines(result))
    assert await real.leftovers() == []
