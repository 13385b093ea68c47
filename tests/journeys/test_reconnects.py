"""Connections of the adapter that break or fall silent: every byte of the agent's output arrives."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.faulty_runs import (
    assert_whole,
    expected_lines,
    numbered_lines_script,
    through_proxy,
    wait_for_more_lines,
    with_fault,
)
from tests.support.file_event import FileEvent
from tests.support.real_cluster import IN_HOME_POD, RESULT, wait_for_output
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.podlog import FollowTimings
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("line_bytes", "lines", "cuts"),
    [
        (40_000, 60, [20_000, 45_000, 90_000, 30_000, 150_000, 300_000]),
        (3_000_000, 3, [40_000, 1_500_000, 2_900_000, 3_100_000, 200_000]),
    ],
)
async def test_long_lines_arrive_whole_across_reconnects(
    real: Site, tmp_path: Path, line_bytes: int, lines: int, cuts: list[int]
) -> None:
    """The connection is cut within lines, even within the runtime's records of 16 KiB.

    `cuts`: numbers of bytes, after each of which one connection is cut.
    """
    body = f"head -c {line_bytes - 10} /dev/zero | tr '\\0' a"
    line = f"printf %010d $i; {body}; echo; i=$((i+1)); sleep 0.05"
    script = f"i=1; while [ $i -le {lines} ]; do {line}; done; {RESULT}"
    expected = "".join(f"{i:010d}{'a' * (line_bytes - 10)}\n" for i in range(1, lines + 1))
    begin_event = FileEvent.on_volume()
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def cut() -> None:
            await wait_for_output(host_log, "Pod running")
            proxy.cuts += cuts
            begin_event.set()

        run = real.run(
            {"CLAUDE_SCRIPT": f"{begin_event.wait_command}; {script}"}, host_log=host_log, config=config
        )
        result, _ = await with_fault(run, cut())
        assert proxy.resets >= len(cuts) - 1  # too few bytes may remain for the last cut
    assert_whole(result, host_log, expected)


async def test_bursts_and_identical_lines_arrive_whole_across_reconnects(real: Site, tmp_path: Path) -> None:
    burst = "seq 1 5000 | sed 's/^/burst line /'"
    same = "yes the-same-line | head -n 3000"
    continue_event = FileEvent.on_volume()
    wait = continue_event.wait_command
    script = f"sleep 1; {burst}; {wait}; {same}; sleep 1; {same}; sleep 1; {burst}; {RESULT}"
    lines = "".join(f"burst line {i}\n" for i in range(1, 5001))
    expected = lines + "the-same-line\n" * 6000 + lines
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def cut() -> None:
            await wait_for_output(host_log, "burst line 1\n")
            proxy.cuts += [30_000, 100_000, 70_000, 20_000, 5_000]  # in bytes of a connection
            continue_event.set()

        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": script}, host_log=host_log, config=config), cut()
        )
        assert proxy.resets >= 2  # too few bytes may remain for further cuts
    assert_whole(result, host_log, expected)


async def test_log_without_last_newline_is_whole_after_a_cut(real: Site, tmp_path: Path) -> None:
    lines, continue_event = "".join(f"line {i}\n" for i in range(50)), FileEvent.on_volume()
    script = "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; printf unended"
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def cut() -> None:
            await wait_for_output(host_log, "line 49\n")
            proxy.cut()
            continue_event.set()

        unended = f"{script}; {continue_event.wait_command}; {RESULT}; printf last"
        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": unended}, host_log=host_log, config=config), cut()
        )
        assert proxy.resets
    assert host_log.stdout.startswith(f"{lines}unended{{")
    assert host_log.stdout.endswith("}\nlast")
    assert result.result_json is not None
    assert result.result_json["log"]["complete"] is True


@pytest.mark.slow
async def test_silent_connection_is_noticed_and_reconnected(real: Site, tmp_path: Path) -> None:
    """Bytes stop arriving, and the connection reports no error, as behind a firewall that drops packets."""
    limit = 8.0  # seconds of silence; the default suits agents that print little
    settings = ProcessSettings(env=IN_HOME_POD, follow_timings=FollowTimings(silence_timeout=limit))
    end_event, site = FileEvent.on_volume(), replace(real, adapter=Adapter(settings))
    async with through_proxy(site, tmp_path) as (proxy, config):
        host_log = HostLog()
        silences: list[float] = []

        async def silence() -> None:
            await wait_for_output(host_log, "line-50.")
            proxy.silence()
            loop = asyncio.get_running_loop()
            since = loop.time()
            await asyncio.sleep(2)
            await wait_for_more_lines(host_log)
            silences.append(loop.time() - since)
            end_event.set()

        result, _ = await with_fault(
            site.run({"CLAUDE_SCRIPT": numbered_lines_script(end_event)}, host_log=host_log, config=config),
            silence(),
        )
    await site.adapter.shutdown()
    assert_whole(result, host_log, expected_lines(result))
    assert silences[0] < FollowTimings().silence_timeout, "the default limit was used"
