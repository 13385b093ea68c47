"""The follower on a server that ignores the options of a log request, on virtual time.

Such a server sends the whole log without timestamps, whatever was requested.
"""

import asyncio
import random

import pytest
from tests.support.kubelet_log import NANO, Fault, KubeletLog, LogFile, Refusal
from tests.support.log_sinks import NONCE, MemoryRelayFile, RecordingSink, Scenario, follow, totals

from paperclip_claude_k8s.podlog import NotLogText, SourceInfo, TimestampsMissing
from paperclip_claude_k8s.podlog.log_lines import LineBatch, LineReader
from paperclip_claude_k8s.podlog.missing_stamps import ServerStamps, StampCompletion, StampsChanged

pytestmark = pytest.mark.looptime
FIRST_MARK = f"\x1e{NONCE} b 0 0\n".encode()
EVENTS = b'{"type":"system"}\n{"type":"assistant"}\n'
PAGE = b"<html>\n<p>Log in to see this page.</p>\n</html>\n"


def scenario_without_stamps(**more: object) -> Scenario:
    """A followed log of a run with a relay, from a server that ignores all options."""
    log = KubeletLog(ignores_options=True)
    return Scenario(log=log, source_info=SourceInfo(nonce=NONCE, **more))  # type: ignore[arg-type]  # of its fields


def count_notices(scenario: Scenario, kind: type[object]) -> int:
    return sum(isinstance(notice, kind) for notice in scenario.sink.notices)


async def test_lines_without_stamps_are_delivered_as_they_come_and_reported_once() -> None:
    scenario = scenario_without_stamps(expected_totals=lambda: totals(b"plain\n" + EVENTS))
    async with scenario.running():
        scenario.log.write(FIRST_MARK)
        await asyncio.sleep(1)
        scenario.log.write(b"plain\n")
        await asyncio.sleep(1)
        assert scenario.out == "plain\n"
        scenario.log.write(EVENTS)
        scenario.write_mark("e an error")
    assert scenario.out.encode() == b"plain\n" + EVENTS
    assert scenario.sink.err == b"an error\n"
    assert scenario.report
    assert scenario.report.complete is True
    assert scenario.sink.notices == [TimestampsMissing()]


async def test_log_without_stamps_and_relay_is_recognised_by_its_first_event() -> None:
    log, sink = KubeletLog(ignores_options=True), RecordingSink()
    log.write(EVENTS + b"plain\n")
    log.terminate()
    report = await follow(log, sink)
    assert sink.out == EVENTS + b"plain\n"
    assert report.gaps == ()


@pytest.mark.parametrize("how", ["eof", "broken", "hang"])
async def test_each_reconnect_without_stamps_continues_at_the_exact_line(how: str) -> None:
    """All lines are equal, so only their number shows where to continue."""
    scenario = scenario_without_stamps()
    scenario.log.faults = [Fault(how, after_seconds=3.0 + n) for n in range(10)]  # type: ignore[arg-type]  # one of `Fault.how`
    async with scenario.running():
        scenario.log.write(FIRST_MARK)
        for _ in range(300):
            scenario.write_lines('{"type":"user"}')
            await asyncio.sleep(0.5)
    assert scenario.out == '{"type":"user"}\n' * 300
    assert count_notices(scenario, TimestampsMissing) == 1
    assert scenario.sink.gaps() == []


async def test_error_page_in_place_of_the_log_is_reported_and_not_delivered() -> None:
    scenario = scenario_without_stamps()
    scenario.log.write(PAGE)
    async with scenario.running():
        await asyncio.sleep(1)
    assert scenario.out == ""
    texts = {notice.text for notice in scenario.sink.notices if isinstance(notice, NotLogText)}
    assert texts == set(PAGE.decode().splitlines())
    assert count_notices(scenario, TimestampsMissing) == 0


async def test_error_page_after_a_break_is_not_delivered_and_the_log_goes_on_later() -> None:
    scenario = scenario_without_stamps()
    async with scenario.running():
        scenario.log.write(FIRST_MARK + EVENTS)
        await asyncio.sleep(1)
        for response in scenario.log.open_responses:
            response.end()
        files, scenario.log.files = scenario.log.files, [LogFile(restarts=-1)]
        scenario.log.write(PAGE)
        await asyncio.sleep(20)
        scenario.log.files = files
        scenario.log.write(b"last\n")
    assert scenario.out.encode() == EVENTS + b"last\n"


async def test_server_that_writes_stamps_for_a_while_repeats_no_line() -> None:
    scenario = scenario_without_stamps()
    scenario.log.faults = [Fault("broken", after_seconds=5.0)]
    async with scenario.running():
        scenario.log.write(FIRST_MARK + EVENTS)
        await asyncio.sleep(3)
        scenario.log.ignores_options = False
        await asyncio.sleep(10)
        scenario.log.ignores_options = True
        scenario.log.write(b"last\n")
        await asyncio.sleep(20)
        assert scenario.out.encode() == EVENTS + b"last\n"


async def test_lines_lost_at_a_rotation_without_stamps_are_a_gap_without_times() -> None:
    written = b"".join(b'{"type":"user","n":%d}\n' % n for n in range(40))
    lines = written.splitlines(keepends=True)
    scenario = scenario_without_stamps(expected_totals=lambda: totals(written))
    scenario.log.faults = [Fault("broken", after_seconds=2.0), *[Refusal()] * 100]
    async with scenario.running():
        scenario.log.write(FIRST_MARK + b"".join(lines[:10]))
        await asyncio.sleep(4)
        scenario.log.write(b"".join(lines[10:20]))
        scenario.log.rotate()
        scenario.log.write(b"".join(lines[20:]))
        scenario.log.faults.clear()
        await asyncio.sleep(20)
    assert scenario.out.encode() == b"".join(lines[:10] + lines[20:])
    (gap,) = scenario.sink.gaps()
    assert (gap.since, gap.until, gap.bytes) == (0, 0, len(b"".join(lines[10:20])))


async def test_lines_lost_at_a_rotation_without_stamps_are_filled_from_the_volume() -> None:
    written = b"".join(b'{"type":"user","n":%d}\n' % n for n in range(40))
    lines = written.splitlines(keepends=True)
    file = MemoryRelayFile(bytearray(written))
    scenario = scenario_without_stamps(expected_totals=lambda: totals(written), relay_file=file)
    scenario.log.faults = [Fault("broken", after_seconds=2.0), *[Refusal()] * 100]
    async with scenario.running():
        scenario.log.write(FIRST_MARK + b"".join(lines[:10]))
        await asyncio.sleep(4)
        scenario.log.rotate()
        scenario.log.write(b"".join(lines[20:]))
        scenario.log.faults.clear()
        await asyncio.sleep(20)
    assert scenario.out.encode() == written
    assert scenario.report
    assert scenario.report.complete is True


async def test_lines_kept_by_a_rotation_are_not_repeated_without_stamps() -> None:
    """The new file begins with lines that were delivered before the connection broke."""
    lines = [b'{"type":"user","n":%d}\n' % n for n in range(40)]
    scenario = scenario_without_stamps()
    scenario.log.faults = [Fault("broken", after_seconds=3.0)]
    async with scenario.running():
        scenario.log.write(FIRST_MARK + b"".join(lines[:10]))
        await asyncio.sleep(1)
        scenario.log.rotate()
        scenario.log.write(b"".join(lines[10:20]))
        await asyncio.sleep(5)
        scenario.log.write(b"".join(lines[20:]))
        await asyncio.sleep(5)
    assert scenario.out.encode() == b"".join(lines)
    assert scenario.sink.gaps() == []


async def test_every_chunking_of_a_log_without_stamps_gives_the_same_lines() -> None:
    text = FIRST_MARK + EVENTS + b"\n\nx\n" + b"y" * 40_000 + b"\nend"
    for seed in range(200):
        rng, reader, out = random.Random(seed), LineReader(), b""  # noqa: S311
        completion, at = StampCompletion(ServerStamps(NONCE)), 0
        while at < len(text):
            size = rng.choice((1, 2, 31, 300, 65536))
            for item in reader.feed(completion.complete(text[at : at + size])):
                assert isinstance(item, LineBatch)
                assert {line.time // NANO for line in (item.first(), item.last())} == {0}
                out += item.text
            at += size
        assert out == text.removesuffix(b"end")


@pytest.mark.parametrize(
    ("beginning", "missing"),
    [
        (b"2026-01-01T00:00:07.123456789Z {}\n", False),
        (b'{ "type" : "system"}\n', True),
        (b'{"is_error":true,"duration_api_ms":0,"num_turns":0}\n', True),
        (b'{"duration_api_ms":57,"stop_reason":"end_turn"}\n', True),
        (FIRST_MARK, True),
        (b"\x1e00000000 b 0 0\n", False),  # the mark of another run
        (b'{"kind":"Status","code":500}\n', False),
        (PAGE, False),
    ],
)
async def test_beginning_of_a_response_shows_whether_stamps_are_missing(
    beginning: bytes, *, missing: bool
) -> None:
    stamps = ServerStamps(NONCE)
    assert stamps.are_missing_in(beginning) is missing
    stamps.written = False
    if not missing:
        with pytest.raises(StampsChanged):
            stamps.are_missing_in(beginning)
