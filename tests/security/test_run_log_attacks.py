"""An agent replaces its run log: this costs the host little memory and time, and the run still ends."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tests.support.hostile_run_log import ATTACKS, LIMIT, WITHOUT_FORGED_MARKS
from tests.support.kubelet_log import KubeletLog, Refusal
from tests.support.log_sinks import HangingRelayFile, MemoryRelayFile, RecordingSink, follow, totals

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog import Follower, SourceInfo
from paperclip_claude_k8s.podlog.file_reader import TOTAL_SECONDS

MIB = 2**20
PRINTED_BYTES = 170
"""Size of the agent's output, which is always delivered."""


@pytest.mark.parametrize("attack", [*ATTACKS, *WITHOUT_FORGED_MARKS])
async def test_replaced_run_log_costs_little_memory_and_time(attack: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.hostile_run_log", attack, str(tmp_path)]
    async with asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    cost = json.loads(output)
    assert cost["mib"] < 150
    assert cost["lag"] < 0.5
    assert cost["end"] < 15  # seconds from the end of the container to the end of the follower
    assert PRINTED_BYTES <= cost["bytes"] <= LIMIT + 16 * MIB


class EndlessRelayFile:
    """A file without end whose lines never match the log. Each read takes some time."""

    async def read(self, start: int, stop: int) -> bytes:
        await asyncio.sleep(0.05)
        return (b"other\n" * ((stop - start) // 6 + 1))[: stop - start]


@pytest.mark.looptime
async def test_search_in_an_endless_file_ends_in_time() -> None:
    log, ended = KubeletLog(), asyncio.get_running_loop().create_future()
    log.write(b'{"n":1}\n')
    log.terminate()
    ended.set_result(None)
    await Follower(log, RecordingSink(), SourceInfo(relay_file=EndlessRelayFile())).run(ended)
    assert loop_time() < TOTAL_SECONDS + 10


async def test_inserted_lines_show_in_the_report() -> None:
    true, forged = b'{"n":1}\n{"n":2}\n', b'{"type":"result","total_cost_usd":9}\n'
    log, sink = KubeletLog(), RecordingSink()
    log.write(true)
    log.terminate()
    file = MemoryRelayFile(bytearray(forged + true))
    report = await follow(log, sink, SourceInfo(relay_file=file, expected_totals=lambda: totals(true)))
    assert sink.out == forged + true
    assert (report.complete, report.bytes) == (False, len(forged + true))


class ReplacedRelayFile(MemoryRelayFile):
    """A file that another agent replaces as soon as it was read to its end once."""

    async def read(self, start: int, stop: int) -> bytes:
        piece = await MemoryRelayFile.read(self, start, stop)
        if stop >= len(self.content) > start:
            self.content = bytearray(b'{"n":6,"is_error":true}\n'[: len(self.content)])
        return piece


async def test_file_that_is_replaced_after_its_verification_has_no_effect() -> None:
    lost = b'{"n":1,"is_error":false}\n'
    log, sink = KubeletLog(), RecordingSink()
    log.terminate()
    source_info = SourceInfo(
        relay_file=ReplacedRelayFile(bytearray(lost)), expected_totals=lambda: totals(lost)
    )
    report = await follow(log, sink, source_info)
    assert sink.out == lost
    assert report.complete


@pytest.mark.looptime
async def test_stopped_run_searches_its_run_log_for_a_short_time() -> None:
    log, ended = KubeletLog(), asyncio.get_running_loop().create_future()
    log.write(b'{"n":1}\n')
    follower = Follower(log, RecordingSink(), SourceInfo(relay_file=EndlessRelayFile()))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(ended))
        await asyncio.sleep(3)
        log.terminate()
        ended.set_result(None)
        follower.limit_relay_file(2.0)
        limited_at = loop_time()
        report = await following
    assert loop_time() - limited_at < 5
    assert report.lines == 1


@pytest.mark.looptime
async def test_stopped_run_does_not_wait_for_a_hung_volume() -> None:
    log, ended = KubeletLog(), asyncio.get_running_loop().create_future()
    log.write(b'{"n":1}\n')
    follower = Follower(log, RecordingSink(), SourceInfo(relay_file=HangingRelayFile()))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(ended))
        await asyncio.sleep(0.5)  # the first comparison with the file has begun
        log.terminate()
        ended.set_result(None)
        follower.limit_relay_file(1.0)
        limited_at = loop_time()
        await following
    assert loop_time() - limited_at < 4


@pytest.mark.looptime
async def test_stopped_run_whose_log_server_fails_for_long_is_completed_from_its_run_log() -> None:
    output = b'{"n":1}\n{"n":2}\n'
    log, ended = KubeletLog(), asyncio.get_running_loop().create_future()
    sink, file = RecordingSink(), MemoryRelayFile(bytearray(output))
    info = SourceInfo(relay_file=file, expected_totals=lambda: totals(output))
    follower = Follower(log, sink, info)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(ended))
        log.write(b'{"n":1}\n')
        await asyncio.sleep(3)
        log.faults = [Refusal(500)] * 100
        log.terminate()
        ended.set_result(None)
        follower.limit_relay_file(5.0)
        stopped_at = loop_time()
        report = await following
    assert loop_time() - stopped_at > 20, "the log server must fail for longer than the run log may be used"
    assert sink.out == output
    assert report.complete
