"""The follower against the model of the kubelet, one situation at a time, on virtual time."""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from tests.support.kubelet_log import APOLOGY, RECORD_BYTES, Fault, KubeletLog, Refusal, stamp
from tests.support.log_sinks import NONCE, HangingRelayFile, MemoryRelayFile, RecordingSink, Scenario, totals

from paperclip_claude_k8s.podlog import (
    ContainerChanged,
    Follower,
    Gap,
    LogReport,
    Notice,
    NotLogText,
    Reconnecting,
    SinkFailed,
    SourceInfo,
)
from paperclip_claude_k8s.podlog.connection import Connection
from paperclip_claude_k8s.podlog.dialer import Dialer
from paperclip_claude_k8s.podlog.follow_options import FollowTimings
from paperclip_claude_k8s.podlog.pipeline import Deliverer
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter

pytestmark = pytest.mark.looptime


async def test_lines_reach_the_sink_as_they_come_and_the_totals_end_it_without_another_request() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\ntwo\n")))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        assert scenario.out == "one\n"
        scenario.write_lines("two")
        scenario.write_mark("e to stderr")
        await asyncio.sleep(1)
    assert scenario.report == LogReport(True, 8, 2, 0, (), 0, None, totals(b"one\ntwo\n").sha256)
    assert scenario.sink.err == b"to stderr\n"
    assert len(scenario.log.requests) == 1


async def test_lines_that_came_together_are_handed_on_together() -> None:
    scenario = Scenario()
    async with scenario.running():
        await asyncio.sleep(1)
        scenario.write_lines(*map(str, range(1000)))
        await asyncio.sleep(1)
    assert scenario.sink.blocks == ["".join(f"{n}\n" for n in range(1000)).encode()]


async def test_a_silent_stream_is_replaced_after_65_s_and_closed_after_the_new_one_delivered() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE))
    scenario.log.faults = [Fault("hang", after_seconds=21)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(20)
        scenario.write_mark("b 4 1")
        await asyncio.sleep(10)
        scenario.write_lines("two")
        await asyncio.sleep(54.9)
        assert (scenario.out, len(scenario.log.open_answers)) == ("one\n", 1)
        await asyncio.sleep(0.102)
        assert (scenario.out, len(scenario.log.open_answers)) == ("one\n", 1)
        assert len(scenario.log.requests) == 2
        await asyncio.sleep(0.1)
        assert (scenario.out, len(scenario.log.open_answers)) == ("one\ntwo\n", 1)


async def test_an_end_that_comes_as_a_read_gives_up_disturbs_nothing() -> None:
    """A busy loop finds both due, and tells the end to a read that is giving up already."""
    loop, errors, timings = asyncio.get_running_loop(), list[Any](), FollowTimings()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    deliverer = Deliverer(RecordingSink(), None, None)
    dialer = Dialer(
        KubeletLog(), deliverer.position, RateLimiter(), response_timeout=timings.response_timeout
    )
    connection = Connection(dialer, deliverer, SourceInfo(), timings)
    stream = await connection.dial(follow=True)
    assert stream is not None
    ended = loop.create_future()
    ended.add_done_callback(connection.shorten_timeout)
    loop.call_later(5, ended.set_result, None)
    with pytest.raises(TimeoutError):
        await connection.read(stream, 5)
    await stream.close()
    assert errors == []


async def test_bookmarks_keep_a_quiet_stream_open_without_any_request() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE))
    async with scenario.running():
        for _ in range(180):
            await asyncio.sleep(20)
            scenario.write_mark("b 0 0")
    # before the first bookmark nobody knows that there will be any; the last read completes the log
    assert [request.follow for request in scenario.log.requests if request.at < 3599] == [True]


async def test_without_bookmarks_bounded_reads_ask_whether_a_silent_stream_missed_something() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("hang", after_seconds=1)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(35)
        assert [request.follow for request in scenario.log.requests] == [True, False]
        scenario.write_lines("two")
        await asyncio.sleep(56)
        assert scenario.out == "one\ntwo\n"
        assert [request.follow for request in scenario.log.requests] == [True, False, False, True]
    assert scenario.out == "one\ntwo\n"


async def test_a_healthy_quiet_container_is_never_given_up() -> None:
    scenario = Scenario()
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(24 * 3600)
        scenario.write_lines("two")
        await asyncio.sleep(1)
        assert scenario.out == "one\ntwo\n"
    assert len(scenario.log.requests) < 24 * 60 + 10


async def test_a_cut_each_minute_for_a_day_loses_nothing() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("eof", after_seconds=60) for _ in range(24 * 60)]
    async with scenario.running():
        for number in range(24 * 60):
            scenario.write_lines(str(number))
            await asyncio.sleep(60)
    assert scenario.out == "".join(f"{number}\n" for number in range(24 * 60))
    assert scenario.report
    assert scenario.report.reconnects > 500
    assert not scenario.report.gaps


async def test_a_line_written_during_a_cut_comes_within_a_second() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=10)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(10.01)
        scenario.write_lines("two")
        await asyncio.sleep(0.5)
        assert scenario.out == "one\ntwo\n"


async def test_an_outage_is_borne_for_as_long_as_it_lasts_and_said_once_a_minute() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=1), *[Refusal(503)] * 150]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(300)
        assert len(scenario.log.requests) < 110
        said = [notice for notice in scenario.sink.notices if isinstance(notice, Reconnecting)]
        assert 4 <= len(said) <= 6
        await asyncio.sleep(600)
        scenario.write_lines("two")
        await asyncio.sleep(1)
        assert scenario.out == "one\ntwo\n"


async def test_a_server_that_was_away_is_found_within_a_second_of_its_return() -> None:
    for seconds in range(40, 45):
        scenario = Scenario()
        scenario.log.faults = [Fault("broken", after_seconds=1), *[Refusal(0)] * 100]
        async with scenario.running():
            scenario.write_lines("one")
            await asyncio.sleep(seconds)
            scenario.write_lines("two")
            assert len(scenario.log.requests) < 1.3 * seconds
            scenario.log.faults.clear()
            await asyncio.sleep(1)
            assert scenario.out == "one\ntwo\n"


async def test_the_server_says_when_to_come_back() -> None:
    scenario = Scenario()
    scenario.log.faults = [Refusal(429, retry_after=30.0)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(29.9)
        assert len(scenario.log.requests) == 1
        await asyncio.sleep(1)
        assert scenario.out == "one\n"


async def test_an_error_inside_an_answer_is_reported_and_not_delivered() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("apology", after_seconds=5), *[Fault("apology", 0)] * 10]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(5)
        scenario.write_lines("two")
        await asyncio.sleep(60)
    assert scenario.out == "one\ntwo\n"
    assert [notice for notice in scenario.sink.notices if isinstance(notice, NotLogText)] == [
        NotLogText(APOLOGY.decode())
    ]


async def test_the_kubelets_own_sentence_is_told_from_a_last_line_without_newline() -> None:
    scenario = Scenario()
    scenario.log.write(b"one\nlast")
    scenario.log.write(APOLOGY)
    async with scenario.running():
        await asyncio.sleep(1)
    assert scenario.out == "one\nlast"
    assert NotLogText(APOLOGY.decode()) in scenario.sink.notices


async def test_a_last_line_without_newline_is_delivered_once_the_container_ended() -> None:
    scenario = Scenario()
    async with scenario.running():
        scenario.log.write(b"one\nlast")
        await asyncio.sleep(5)
        assert scenario.out == "one\n"
    assert scenario.out == "one\nlast"
    assert scenario.report
    assert (scenario.report.bytes, scenario.report.lines) == (8, 2)


async def test_a_container_that_wrote_nothing_has_an_empty_log() -> None:
    scenario = Scenario()
    async with scenario.running():
        await asyncio.sleep(1)
    assert scenario.report == LogReport(None, 0, 0, 0, (), 0, None, sha256().hexdigest())


async def test_a_raising_sink_ends_nothing_and_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    text = b"0\n1\n2\n"
    scenario = Scenario(
        sink=RecordingSink(fails=True),
        source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(text)),
    )
    async with scenario.running():
        for number in range(3):
            scenario.write_lines(str(number))
            await asyncio.sleep(1)
    assert scenario.out == text.decode()
    assert scenario.report
    assert scenario.report.complete is False
    assert scenario.report.sink_failures == 3
    assert isinstance(scenario.report.first_sink_error, OSError)
    (told,) = [notice for notice in scenario.sink.notices if isinstance(notice, SinkFailed)]
    assert told.error is scenario.report.first_sink_error
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("paperclip_claude_k8s", "ERROR")
    assert record.exc_info is not None


async def test_a_sink_that_raises_at_everything_it_is_told_is_counted_and_ends_nothing() -> None:
    class Broken(RecordingSink):
        async def stdout(self, block: bytes) -> None:
            raise ValueError

        stderr = stdout

        async def notice(self, notice: Notice) -> None:
            raise ValueError(notice)

    scenario = Scenario(
        sink=Broken(), source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\n"))
    )
    async with scenario.running():
        scenario.write_lines("one")
        scenario.write_mark("e to stderr")
        await asyncio.sleep(1)
    assert scenario.report
    assert scenario.report.complete is False
    assert scenario.report.sink_failures == 3


async def test_a_second_read_that_breaks_off_has_no_line_told_twice() -> None:
    scenario = Scenario()
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        (stream,) = scenario.log.open_answers
        stream.stalled = True
        scenario.write_lines("two", "three", "four")
        scenario.log.faults = [Fault("broken", after_bytes=len(stamp(0)) * 3 + 4 + 4 + 6)]
        await asyncio.sleep(40)
        stream.stalled = False
        scenario.log.wake()
        await asyncio.sleep(2)
    assert scenario.out == "one\ntwo\nthree\nfour\n"


async def test_a_slow_sink_slows_the_reading() -> None:
    scenario = Scenario(sink=RecordingSink(pause=10.0))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        scenario.write_lines("two")
        await asyncio.sleep(1)
        assert scenario.out == "one\n"
    assert scenario.out == "one\ntwo\n"


async def test_totals_that_are_not_met_are_told_with_what_is_missing() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\ntwo\n")))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
    assert scenario.report
    assert scenario.report.complete is False
    assert [(gap.bytes, gap.lines) for gap in scenario.report.gaps] == [(4, 1)]


async def test_the_end_of_a_log_that_is_gone_comes_from_the_relays_file() -> None:
    text = "one\ntwo\nthree"
    file = MemoryRelayFile(bytearray(text.encode()))
    scenario = Scenario(
        source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(text.encode()), relay_file=file)
    )
    scenario.log.faults = [Fault("broken", after_seconds=5), *[Refusal(404)] * 5]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(4.99)
    assert scenario.out == text
    assert scenario.report
    assert scenario.report.complete is True
    assert asyncio.get_running_loop().time() < 8


async def test_a_gap_is_filled_in_order_where_the_relays_file_can_be_read() -> None:
    file = MemoryRelayFile()
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE, relay_file=file))
    scenario.log.faults = [Fault("broken", after_seconds=1), Refusal(503), Refusal(503)]
    texts = [f'{{"n": {number}}}' for number in range(6)]
    async with scenario.running():
        for number, text in enumerate(texts):
            file.content += text.encode() + b"\n"
            scenario.write_lines(text)
            if number in (0, 5):
                await asyncio.sleep(1.1)
            if number == 3:
                scenario.log.rotate()
        await asyncio.sleep(5)
        assert scenario.out == "".join(text + "\n" for text in texts)
    assert [filled.lines for filled in scenario.sink.filled()] == [3]


@pytest.mark.parametrize("answers", [3, 4])
async def test_a_server_that_shows_an_empty_log_is_told_neither_twice_nor_with_a_gap(answers: int) -> None:
    scenario = Scenario()
    empty = Fault("eof", 0)
    scenario.log.faults = [Fault("broken", after_seconds=1), Fault("hang", 10), *[empty] * answers]
    async with scenario.running():
        scenario.write_lines("one", "two")
        await asyncio.sleep(30)
        scenario.write_lines("three")
        await asyncio.sleep(1)
    assert scenario.out == "one\ntwo\nthree\n"
    assert scenario.sink.gaps() == []


@pytest.mark.parametrize("nonce", [None, NONCE])
async def test_a_gap_that_cannot_be_filled_is_told_with_the_times_on_both_sides(nonce: str | None) -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=nonce, relay_file=MemoryRelayFile(fails=True)))
    scenario.log.faults = [Fault("broken", after_seconds=1), Refusal(503), Refusal(503)]
    async with scenario.running():
        scenario.write_lines('{"n": 1}')
        await asyncio.sleep(1.1)
        before = scenario.log.now()
        scenario.write_lines('{"n": 2}')
        scenario.log.rotate()
        scenario.write_lines('{"n": 3}')
        await asyncio.sleep(20)
        scenario.write_mark("b 27 3")
        await asyncio.sleep(1)
    gap, *rest = scenario.sink.gaps()
    assert (gap.bytes, gap.lines) == ((9, 1) if nonce else (None, None))
    assert (gap.since, gap.until) == (before - 1_100_000_000, before)
    assert not rest
    assert scenario.report
    assert scenario.report.complete is False


async def test_a_loss_before_a_last_line_without_newline_is_told() -> None:
    scenario = Scenario(log=KubeletLog(drains=False))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        scenario.log.faults = [Fault("broken"), Refusal(503)]
        scenario.log.open_answers[0].end()
        scenario.write_lines("two")
        scenario.log.rotate()
        scenario.log.write(b"three")
        await asyncio.sleep(1)
    assert scenario.out == "one\nthree"
    assert len(scenario.sink.gaps()) == 1


async def test_a_part_of_a_line_after_a_loss_is_no_last_line() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=1)]
    whole, torn = '{"n": 1}', b'{"pad": "' + b"x" * 60_000
    async with scenario.running():
        scenario.write_lines(whole)
        await asyncio.sleep(1.01)
        scenario.log.record(torn[:RECORD_BYTES])
        scenario.log.rotate()
        scenario.log.record(torn[RECORD_BYTES : 2 * RECORD_BYTES])
    assert scenario.out == whole + "\n"
    assert len(scenario.sink.gaps()) == 1


async def test_a_volume_that_hangs_holds_the_lines_after_a_loss_for_seconds() -> None:
    volume = HangingRelayFile()
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE, relay_file=volume))
    scenario.log.faults = [Fault("broken", after_seconds=1), Refusal(503), Refusal(503)]
    async with scenario.running():
        scenario.write_lines('{"n": 1}')
        await asyncio.sleep(1.1)
        scenario.write_lines('{"n": 2}')
        scenario.log.rotate()
        scenario.write_lines('"}', '{"n": 3}')
        await asyncio.sleep(14)
        assert scenario.out.endswith('{"n": 3}\n')


async def test_a_suspected_gap_is_none_when_the_counts_agree() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE))
    scenario.log.faults = [Fault("broken", after_seconds=1), Refusal(503)]
    async with scenario.running():
        scenario.write_lines('{"n": 1}')
        await asyncio.sleep(1.1)
        scenario.log.rotate()
        scenario.write_lines('{"n": 2}')
        await asyncio.sleep(20)
        scenario.write_mark("b 18 2")
        await asyncio.sleep(1)
    assert scenario.out == '{"n": 1}\n{"n": 2}\n'
    assert not scenario.sink.gaps()


async def test_lines_lost_by_a_stream_that_was_never_cut_are_found_by_the_counts() -> None:
    scenario = Scenario(log=KubeletLog(drains=False), source_info=SourceInfo(nonce=NONCE))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        scenario.write_lines("two")
        scenario.log.rotate()
        await asyncio.sleep(20)
        scenario.write_mark("b 8 2")
        await asyncio.sleep(1)
        assert [(gap.bytes, gap.lines) for gap in scenario.sink.gaps()] == [(4, 1)]


async def test_a_container_that_was_started_again_is_told() -> None:
    log = KubeletLog()
    scenario = Scenario(log=log, source_info=SourceInfo(container_id=lambda: f"containerd://{log.container}"))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        log.restart()
        scenario.write_lines("two")
        await asyncio.sleep(1)
    assert scenario.out == "one\ntwo\n"
    assert ContainerChanged("containerd://0", "containerd://1") in scenario.sink.notices
    assert scenario.sink.gaps()


async def test_lines_behind_a_clock_set_back_during_a_cut_are_found() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE))
    scenario.log.faults = [Fault("broken", after_seconds=30)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(20)
        scenario.write_mark("b 4 1")
        await asyncio.sleep(10.01)
        scenario.log.clock_offset -= 3600 * 10**9
        scenario.write_lines("two")
        await asyncio.sleep(80)
        assert scenario.out == "one\ntwo\n"


async def test_a_log_that_is_gone_costs_no_long_wait() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=2), *[Refusal(404)] * 50]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1.99)
    assert asyncio.get_running_loop().time() < 4
    assert scenario.sink.gaps() == [Gap(scenario.sink.gaps()[0].since, None)]


async def test_a_server_that_stays_away_after_the_end_is_given_up_after_30_s() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=2), *[Refusal()] * 500]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1.99)
    assert 30 < asyncio.get_running_loop().time() < 40
    assert scenario.report
    assert scenario.report.complete is False


STEPS = 60


async def _act(scenario: Scenario) -> None:
    for number in range(30):
        scenario.write_lines(f'{{"n": {number}}}')
        await asyncio.sleep(0.37)


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_cancelled_follower_leaves_nothing_open(step: int) -> None:
    """Cancelled at each of many moments: during a request, a read, a pause, a delivery, the completion."""
    scenario = Scenario(sink=RecordingSink(pause=0.05))
    scenario.log.faults = [Fault("eof", 100), Refusal(503), Fault("broken", 300), Fault("hang", 400), None]
    async with asyncio.TaskGroup() as group:
        following = group.create_task(Follower(scenario.log, scenario.sink).run(scenario.ended))
        acting = group.create_task(_act(scenario))
        await asyncio.sleep(step * 0.013 if step < STEPS // 2 else step * 0.31)
        if step % 3 == 0:
            scenario.ended.set_result(None)
            await asyncio.sleep(0.003 * step)
        following.cancel()
        acting.cancel()
    assert following.cancelled() or scenario.ended.done()
    assert not scenario.log.open_answers


def bulky(lines: int = 6000) -> list[str]:
    return [f'{{"n": {n}, "pad": "{"x" * 1000}"}}' for n in range(lines)]


async def test_a_bulky_log_without_a_relay_is_not_read_twice_when_its_last_lines_are_the_delivered_ones() -> (
    None
):
    scenario, lines = Scenario(), bulky()
    async with scenario.running():
        scenario.write_lines(*lines)
        await asyncio.sleep(1)
    assert scenario.out == "\n".join([*lines, ""])
    assert [(request.follow, request.tail) for request in scenario.log.requests] == [
        (True, None),
        (False, 64),
    ]


async def test_lines_that_come_after_a_clean_end_of_a_bulky_stream_are_still_had() -> None:
    scenario, lines = Scenario(), bulky()
    async with scenario.running():
        scenario.write_lines(*lines)
        await asyncio.sleep(1)
        scenario.log.open_answers[0].end()
        scenario.write_lines("late")
        scenario.log.faults = [Fault("eof"), None, None]
    assert scenario.out == "\n".join([*lines, "late", ""])


async def test_the_last_lines_are_compared_as_far_as_they_are_kept() -> None:
    """Of a bulky ending only a few lines are remembered."""
    scenario, lines = Scenario(), bulky()
    async with scenario.running():
        for first in range(0, len(lines), 12):
            scenario.write_lines(*lines[first : first + 12])
            await asyncio.sleep(0.5)
    assert scenario.out == "\n".join([*lines, ""])
    assert scenario.log.requests[-1].tail == 64


async def test_last_lines_that_are_all_the_same_prove_nothing() -> None:
    """The server may have more of them than came; only a second read tells."""
    scenario, lines = Scenario(), [*bulky(), *["same"] * 100]
    async with scenario.running():
        scenario.write_lines(*lines)
        await asyncio.sleep(1)
    assert scenario.out == "\n".join([*lines, ""])
    assert scenario.log.requests[-1].tail is None
