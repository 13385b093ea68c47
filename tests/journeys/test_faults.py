"""Crashes of the API server and the kubelet during a run: every byte of the agent's output arrives."""

import asyncio

import pytest
from tests.support.faulty_runs import assert_whole, control_cluster, numbered_lines, with_fault
from tests.support.real_cluster import wait_for_output
from tests.support.runs import Site

from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real


async def test_log_is_whole_after_three_api_server_crashes(real: Site) -> None:
    host_log = HostLog()
    script, expected = numbered_lines(450, 0.1)

    async def kill_three_times() -> None:
        for line in (50, 150, 250):
            await wait_for_output(host_log, f"line-{line}-of")
            await control_cluster("kill", "apiserver")
            await asyncio.sleep(2)
            await control_cluster("start", "apiserver")

    result, _ = await with_fault(real.run({"CLAUDE_SCRIPT": script}, host_log=host_log), kill_three_times())
    log = assert_whole(result, host_log, expected)
    assert log["reconnects"] >= 3
    assert await real.leftovers() == []


async def test_log_is_whole_after_a_kubelet_restart(real: Site) -> None:
    host_log = HostLog()
    script, expected = numbered_lines(300, 0.1)

    async def kill() -> None:
        await wait_for_output(host_log, "line-50-of")
        await control_cluster("kill", "kubelet")
        await asyncio.sleep(5)
        await control_cluster("start", "kubelet")

    result, _ = await with_fault(real.run({"CLAUDE_SCRIPT": script}, host_log=host_log), kill())
    assert_whole(result, host_log, expected)
    assert await real.leftovers() == []
