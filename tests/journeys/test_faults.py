"""Faults of a real cluster during a run: every byte of the agent's output arrives, or the gap is reported."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.flaky_proxy import FlakyProxy, flaky_proxy
from tests.support.real_cluster import RESULT, VOLUME, wait_for_output
from tests.support.runs import HostLog, Site

from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.podlog import FollowTimings

pytestmark = pytest.mark.real
CTL_SCRIPT = os.environ.get("CLUSTER_CTL", "")
"""Script that starts, stops and kills a part of the cluster, such as the kubelet."""
CTL_TRIES = 3
"""Attempts per call: the script sometimes fails because of a race with grep."""


@pytest.fixture
def ctl() -> "Ctl":
    assert CTL_SCRIPT, "CLUSTER_CTL must name the script that starts and stops the cluster's parts"
    return ctl_for(CTL_SCRIPT)


Ctl = Callable[..., Awaitable[None]]
"""Runs the script with these arguments, and with keyword arguments as environment variables."""


def ctl_for(script: str) -> Ctl:
    async def call(*arguments: str, **env: str) -> None:
        for _ in range(CTL_TRIES):
            process = await asyncio.create_subprocess_exec(
                script, *arguments, env={**os.environ, **env}, stdout=asyncio.subprocess.DEVNULL
            )
            if await process.wait() == 0:
                return
        raise AssertionError(f"{arguments} failed {CTL_TRIES} times")

    return call


@asynccontextmanager
async def through_proxy(real: Site, folder: Path) -> AsyncIterator[tuple[FlakyProxy, dict[str, Any]]]:
    """A proxy, and the config that makes all connections of the adapter go through it."""
    async with flaky_proxy(str(real.config["kubeconfig"]), folder) as (proxy, kubeconfig):
        yield proxy, {"kubeconfig": kubeconfig}
        # before the proxy ends, because the adapter deletes its Lease through it
        assert await real.leftovers() == []


RunEnd = tuple[ExecutionResult, HostLog]
"""The result of a run, and what its host has received."""


async def with_fault(run: Coroutine[Any, Any, RunEnd], fault: Coroutine[Any, Any, None]) -> RunEnd:
    """Cause the fault during the run, and return the result and log of the run."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run)
        group.create_task(fault)
    return running.result()


def numbered_lines(count: int, step: float) -> tuple[str, str]:
    """A script that prints `count` numbered lines, `step` seconds apart, and those lines."""
    loop = (
        f"i=1; while [ $i -le {count} ]; do echo line-$i-of-{count}; i=$((i+1)); sleep {step}; done; {RESULT}"
    )
    return loop, "".join(f"line-{i}-of-{count}\n" for i in range(1, count + 1))


def long_numbered_lines(count: int, step: float) -> tuple[str, str]:
    """As `numbered_lines`, but so long that the kubelet finds a small log too large at each check."""
    script, expected = numbered_lines(count, step)
    wide = "echo wide-$(head -c 1500 /dev/zero | tr '\\0' w)-line"
    return script.replace("echo line", wide), expected.replace("line", f"wide-{'w' * 1500}-line")


def assert_whole(result: ExecutionResult, host_log: HostLog, expected: str) -> dict[str, Any]:
    """Check that the lines arrived once, in order, and that the log is reported as complete; return `log`."""
    received = host_log.stdout
    pairs = enumerate(zip(received, expected, strict=False))
    same = next((at for at, (char, wanted) in pairs if char != wanted), len(received))
    assert received.startswith(expected), f"differs at {same}: {received[same : same + 200]!r}"
    assert received.count("\n") <= expected.count("\n") + 1
    assert result.error_message is None, result.error_message
    assert result.result_json is not None
    log: dict[str, Any] = result.result_json["log"]
    assert log["complete"] is True, log
    assert log["gaps"] == []
    return log


async def test_log_is_whole_after_three_api_server_crashes(real: Site, ctl: Ctl) -> None:
    host_log = HostLog()
    script, expected = numbered_lines(600, 0.1)

    async def kill_three_times() -> None:
        for line in (50, 200, 350):
            await wait_for_output(host_log, f"line-{line}-of")
            await ctl("kill", "apiserver")
            await asyncio.sleep(2)
            await ctl("start", "apiserver")

    result, _ = await with_fault(real.run({"CLAUDE_SCRIPT": script}, host_log=host_log), kill_three_times())
    log = assert_whole(result, host_log, expected)
    assert log["reconnects"] >= 3
    assert await real.leftovers() == []


async def test_log_is_whole_after_a_kubelet_restart(real: Site, ctl: Ctl) -> None:
    host_log = HostLog()
    script, expected = numbered_lines(300, 0.1)

    async def kill() -> None:
        await wait_for_output(host_log, "line-50-of")
        await ctl("kill", "kubelet")
        await asyncio.sleep(5)
        await ctl("start", "kubelet")

    result, _ = await with_fault(real.run({"CLAUDE_SCRIPT": script}, host_log=host_log), kill())
    assert_whole(result, host_log, expected)
    assert await real.leftovers() == []


@pytest.mark.parametrize(
    ("length", "count", "cuts"),
    [
        (40_000, 60, [20_000, 45_000, 90_000, 30_000, 150_000, 300_000]),
        (3_000_000, 3, [40_000, 1_500_000, 2_900_000, 3_100_000, 200_000]),
    ],
)
async def test_long_lines_arrive_whole_across_reconnects(
    real: Site, tmp_path: Path, length: int, count: int, cuts: list[int]
) -> None:
    """The connection is cut within lines, even within the runtime's records of 16 KiB."""
    body = f"head -c {length - 10} /dev/zero | tr '\\0' a"
    line = f"printf %010d $i; {body}; echo; i=$((i+1)); sleep 0.05"
    script = f"i=1; while [ $i -le {count} ]; do {line}; done; {RESULT}"
    expected = "".join(f"{i:010d}{'a' * (length - 10)}\n" for i in range(1, count + 1))
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def cut() -> None:
            await wait_for_output(host_log, "Pod running")
            proxy.cuts += cuts

        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": script}, host_log=host_log, config=config), cut()
        )
        assert proxy.resets >= len(cuts) - 1
    assert_whole(result, host_log, expected)


async def test_bursts_and_identical_lines_arrive_whole_across_reconnects(real: Site, tmp_path: Path) -> None:
    burst = "seq 1 5000 | sed 's/^/burst line /'"
    same = "yes the-same-line | head -n 3000"
    script = f"sleep 1; {burst}; sleep 1; {same}; sleep 1; {same}; sleep 1; {burst}; {RESULT}"
    lines = "".join(f"burst line {i}\n" for i in range(1, 5001))
    expected = lines + "the-same-line\n" * 6000 + lines
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def cut() -> None:
            await wait_for_output(host_log, "burst line 1\n")
            proxy.cuts += [30_000, 100_000, 70_000, 20_000, 5_000]

        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": script}, host_log=host_log, config=config), cut()
        )
        assert proxy.resets >= 2
    assert_whole(result, host_log, expected)


async def test_log_without_last_newline_is_whole_after_a_cut(real: Site, tmp_path: Path) -> None:
    script, expected = numbered_lines(50, 0.05)
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()

        async def cut() -> None:
            await wait_for_output(host_log, "line-50-of")
            proxy.cut()

        unended = f"{script.removesuffix(RESULT)} printf unended; sleep 0.3; {RESULT}; printf last"
        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": unended}, host_log=host_log, config=config), cut()
        )
        assert proxy.resets
    assert host_log.stdout.startswith(f"{expected}unended{{")
    assert host_log.stdout.endswith("}\nlast")
    assert result.result_json is not None
    assert result.result_json["log"]["complete"] is True


async def test_silent_connection_is_noticed_and_reconnected(real: Site, tmp_path: Path) -> None:
    """Bytes stop arriving, and the connection reports no error, as behind a firewall that drops packets."""
    script, expected = numbered_lines(1100, 0.1)
    async with through_proxy(real, tmp_path) as (proxy, config):
        host_log = HostLog()
        silences: list[float] = []

        async def silence() -> None:
            await wait_for_output(host_log, "line-50-of")
            proxy.silence()
            loop = asyncio.get_running_loop()
            since = loop.time()
            await asyncio.sleep(2)
            length = len(host_log.stdout)
            while len(host_log.stdout) == length:  # noqa: ASYNC110  # a host's callback sets no event
                await asyncio.sleep(0.1)
            silences.append(loop.time() - since)

        result, _ = await with_fault(
            real.run({"CLAUDE_SCRIPT": script}, host_log=host_log, config=config), silence()
        )
    assert_whole(result, host_log, expected)
    assert silences[0] <= FollowTimings().silence_timeout + 30  # the margin is for a busy machine


@pytest.fixture
async def small_logs(ctl: Ctl) -> AsyncIterator[None]:
    """A kubelet that rotates a container's log at 64 KiB."""
    await ctl("stop", "kubelet")
    await ctl("start", "kubelet", CONTAINER_LOG_MAX_SIZE="64Ki")
    yield
    await ctl("stop", "kubelet")
    await ctl("start", "kubelet")


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
