"""The follower against the model of the kubelet, one situation per test, on virtual time.

Marks are lines of the relay: `b BYTES LINES` is a bookmark, which counts the output so far, and `e TEXT` is a
line of stderr.
"""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from tests.support.kubelet_log import KUBELET_ERROR, RECORD_BYTES, Fault, KubeletLog, Refusal, stamp
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
from paperclip_claude_k8s.podlog.read_budget import ReadBudget

pytestmark = pytest.mark.looptime


async def test_lines_are_delivered_at_once_and_matching_totals_need_no_further_request() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\ntwo\n")))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        assert scenario.out == "one\n"
        scenario.write_lines("two")
        scenario.write_mark("e to stderr")
        await asyncio.sleep(1)
    assert scenario.report == LogReport(
        complete=True,
        bytes=8,
        lines=2,
        reconnects=0,
        gaps=(),
        sink_failures=0,
        first_sink_error=None,
        sha256=totals(b"one\ntwo\n").sha256,
    )
    assert scenario.sink.err == b"to stderr\n"
    assert len(scenario.log.requests) == 1


async def test_lines_of_one_chunk_are_delivered_as_one_block() -> None:
    scenario = Scenario()
    async with scenario.running():
        await asyncio.sleep(1)
        scenario.write_lines(*map(str, range(1000)))
        await asyncio.sleep(1)
    assert scenario.sink.blocks == ["".join(f"{n}\n" for n in range(1000)).encode()]


async def test_silent_stream_is_replaced_after_65_s_and_closed_after_new_lines() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE))
    scenario.log.faults = [Fault("hang", after_seconds=21)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(20)
        scenario.write_mark("b 4 1")
        await asyncio.sleep(10)
        scenario.write_lines("two")
        await asyncio.sleep(54.9)  # until second 84.9, which is 64.9 s after the bookmark
        assert (scenario.out, len(scenario.log.open_responses)) == ("one\n", 1)
        # A moment later, the second stream has been requested, but has not delivered a new line:
        await asyncio.sleep(0.102)
        assert (scenario.out, len(scenario.log.open_responses)) == ("one\n", 1)
        assert len(scenario.log.requests) == 2
        await asyncio.sleep(0.1)
        assert (scenario.out, len(scenario.log.open_responses)) == ("one\ntwo\n", 1)


async def test_container_end_at_the_time_of_a_read_timeout_causes_no_other_error() -> None:
    """On a busy event loop the container's end and the timeout of the current read can be due at once."""
    loop, errors, timings = asyncio.get_running_loop(), list[Any](), FollowTimings()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    deliverer = Deliverer(RecordingSink(), None, None)
    budget = ReadBudget(timings)
    dialer = Dialer(KubeletLog(), deliverer.position, RateLimiter(), nonce=None, budget=budget)
    connection = Connection(dialer, deliverer, SourceInfo(), timings)
    stream = await connection.dial(follow=True)
    assert stream is not None
    ended = loop.create_future()
    ended.add_done_callback(connection.shorten_timeout)
    loop.call_later(5, ended.set_result, None)
    with pytest.raises(TimeoutError):
        await connection.read(stream, timeout=5)
    await stream.close()
    assert errors == []


async def test_quiet_stream_with_bookmarks_causes_no_further_request() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE))
    async with scenario.running():
        for _ in range(180):
            await asyncio.sleep(20)
            scenario.write_mark("b 0 0")
    # the read at the end, after second 3600, completes the log
    assert [request.follow for request in scenario.log.requests if request.at < 3599] == [True]


async def test_silent_stream_without_bookmarks_is_checked_by_bounded_reads() -> None:
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


async def test_quiet_container_is_followed_for_a_day() -> None:
    scenario = Scenario()
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(24 * 3600)
        scenario.write_lines("two")
        await asyncio.sleep(1)
        assert scenario.out == "one\ntwo\n"
    assert len(scenario.log.requests) < 24 * 60 + 10  # one check a minute


async def test_stream_cut_every_minute_for_a_day_loses_nothing() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("eof", after_seconds=60) for _ in range(24 * 60)]
    async with scenario.running():
        for number in range(24 * 60):
            scenario.write_lines(str(number))
            await asyncio.sleep(60)
    assert scenario.out == "".join(f"{number}\n" for number in range(24 * 60))
    assert scenario.report
    assert scenario.report.reconnects > 500  # the other faults cut bounded reads
    assert not scenario.report.gaps


async def test_line_written_during_a_cut_arrives_within_a_second() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=10)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(10.01)
        scenario.write_lines("two")
        await asyncio.sleep(0.5)
        assert scenario.out == "one\ntwo\n"


async def test_outage_is_retried_without_limit_and_reported_once_a_minute() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=1), *[Refusal(503)] * 150]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(300)
        assert len(scenario.log.requests) < 110  # one every 3 s or less often
        reported = [notice for notice in scenario.sink.notices if isinstance(notice, Reconnecting)]
        assert 4 <= len(reported) <= 6  # in five minutes
        await asyncio.sleep(600)
        scenario.write_lines("two")
        await asyncio.sleep(1)
        assert scenario.out == "one\ntwo\n"


async def test_unreachable_server_is_found_within_a_second_of_its_return() -> None:
    for seconds in range(40, 45):
        scenario = Scenario()
        scenario.log.faults = [Fault("broken", after_seconds=1), *[Refusal(0)] * 100]
        async with scenario.running():
            scenario.write_lines("one")
            await asyncio.sleep(seconds)
            scenario.write_lines("two")
            assert len(scenario.log.requests) < 1.3 * seconds  # about one a second
            scenario.log.faults.clear()
            await asyncio.sleep(1)
            assert scenario.out == "one\ntwo\n"


async def test_retry_after_header_is_respected() -> None:
    scenario = Scenario()
    scenario.log.faults = [Refusal(429, retry_after=30.0)]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(29.9)
        assert len(scenario.log.requests) == 1
        await asyncio.sleep(1)
        assert scenario.out == "one\n"


async def test_error_text_in_a_response_is_reported_and_not_delivered() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("error_text", after_seconds=5), *[Fault("error_text", after_bytes=0)] * 10]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(5)
        scenario.write_lines("two")
        await asyncio.sleep(60)
    assert scenario.out == "one\ntwo\n"
    assert [notice for notice in scenario.sink.notices if isinstance(notice, NotLogText)] == [
        NotLogText(KUBELET_ERROR.decode())
    ]


async def test_kubelet_error_after_unended_last_line_is_separated() -> None:
    scenario = Scenario()
    scenario.log.write(b"one\nlast")
    scenario.log.write(KUBELET_ERROR)
    async with scenario.running():
        await asyncio.sleep(1)
    assert scenario.out == "one\nlast"
    assert NotLogText(KUBELET_ERROR.decode()) in scenario.sink.notices


async def test_unended_last_line_is_delivered_after_the_container_ended() -> None:
    scenario = Scenario()
    async with scenario.running():
        scenario.log.write(b"one\nlast")
        await asyncio.sleep(5)
        assert scenario.out == "one\n"
    assert scenario.out == "one\nlast"
    assert scenario.report
    assert (scenario.report.bytes, scenario.report.lines) == (8, 2)


async def test_container_without_output_has_an_empty_log() -> None:
    scenario = Scenario()
    async with scenario.running():
        await asyncio.sleep(1)
    assert scenario.report == LogReport(
        complete=None,  # unknown
        bytes=0,
        lines=0,
        reconnects=0,
        gaps=(),
        sink_failures=0,
        first_sink_error=None,
        sha256=sha256().hexdigest(),
    )


async def test_raising_sink_is_logged_and_log_is_incomplete(caplog: pytest.LogCaptureFixture) -> None:
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
    (failure,) = [notice for notice in scenario.sink.notices if isinstance(notice, SinkFailed)]
    assert failure.error is scenario.report.first_sink_error
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("paperclip_claude_k8s.podlog.pipeline", "ERROR")
    assert record.exc_info is not None


async def test_sink_that_raises_on_every_call_is_counted() -> None:
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


async def test_broken_bounded_read_repeats_no_line() -> None:
    scenario = Scenario()
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        (stream,) = scenario.log.open_responses
        stream.stalled = True
        scenario.write_lines("two", "three", "four")
        scenario.log.faults = [
            Fault("broken", after_bytes=len(stamp(0)) * 3 + 4 + 4 + 6)
        ]  # after the line "three"
        await asyncio.sleep(40)
        stream.stalled = False
        scenario.log.notify_readers()
        await asyncio.sleep(2)
    assert scenario.out == "one\ntwo\nthree\nfour\n"


async def test_slow_sink_slows_reading() -> None:
    scenario = Scenario(sink=RecordingSink(pause=10.0))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        scenario.write_lines("two")
        await asyncio.sleep(1)
        assert scenario.out == "one\n"
    assert scenario.out == "one\ntwo\n"


async def test_unmet_totals_are_reported_as_a_gap_with_size() -> None:
    scenario = Scenario(source_info=SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\ntwo\n")))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
    assert scenario.report
    assert scenario.report.complete is False
    assert [(gap.bytes, gap.lines) for gap in scenario.report.gaps] == [(4, 1)]


async def test_end_of_deleted_log_is_filled_from_relay_file() -> None:
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


async def test_gap_is_filled_in_order_from_relay_file() -> None:
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


@pytest.mark.parametrize("responses", [3, 4])
async def test_empty_responses_cause_no_repetition_and_no_gap(responses: int) -> None:
    scenario = Scenario()
    empty = Fault("eof", after_bytes=0)
    scenario.log.faults = [
        Fault("broken", after_seconds=1),
        Fault("hang", after_bytes=10),
        *[empty] * responses,
    ]
    async with scenario.running():
        scenario.write_lines("one", "two")
        await asyncio.sleep(30)
        scenario.write_lines("three")
        await asyncio.sleep(1)
    assert scenario.out == "one\ntwo\nthree\n"
    assert scenario.sink.gaps() == []


@pytest.mark.parametrize("nonce", [None, NONCE])
async def test_unfillable_gap_is_reported_with_times_on_both_sides(nonce: str | None) -> None:
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
    assert (gap.since, gap.until) == (before - 1_100_000_000, before)  # 1.1 s in nanoseconds
    assert not rest
    assert scenario.report
    assert scenario.report.complete is False


async def test_loss_before_unended_last_line_is_reported() -> None:
    scenario = Scenario(log=KubeletLog(reads_rotated_file_to_end=False))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        scenario.log.faults = [Fault("broken"), Refusal(503)]
        scenario.log.open_responses[0].end()
        scenario.write_lines("two")
        scenario.log.rotate()
        scenario.log.write(b"three")
        await asyncio.sleep(1)
    assert scenario.out == "one\nthree"
    assert len(scenario.sink.gaps()) == 1


async def test_partial_line_after_a_loss_is_not_delivered_as_last_line() -> None:
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


async def test_hung_volume_delays_lines_after_a_loss_by_14_s_at_most() -> None:
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


async def test_possible_gap_is_dropped_when_counts_agree() -> None:
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


async def test_lines_lost_in_an_uncut_stream_are_found_by_counts() -> None:
    scenario = Scenario(log=KubeletLog(reads_rotated_file_to_end=False), source_info=SourceInfo(nonce=NONCE))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        scenario.write_lines("two")
        scenario.log.rotate()
        await asyncio.sleep(20)
        scenario.write_mark("b 8 2")
        await asyncio.sleep(1)
        assert [(gap.bytes, gap.lines) for gap in scenario.sink.gaps()] == [(4, 1)]


async def test_restarted_container_is_reported() -> None:
    log = KubeletLog()
    scenario = Scenario(log=log, source_info=SourceInfo(container_id=lambda: f"containerd://{log.restarts}"))
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1)
        log.restart()
        scenario.write_lines("two")
        await asyncio.sleep(1)
    assert scenario.out == "one\ntwo\n"
    assert ContainerChanged("containerd://0", "containerd://1") in scenario.sink.notices
    assert scenario.sink.gaps()


async def test_lines_after_clock_set_back_during_a_cut_are_found() -> None:
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


async def test_deleted_log_is_given_up_within_seconds() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=2), *[Refusal(404)] * 50]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1.99)
    assert asyncio.get_running_loop().time() < 4
    (gap,) = scenario.sink.gaps()
    assert gap == Gap(gap.since, until=None)  # of unknown size


async def test_server_gone_after_container_end_is_given_up_after_30_s() -> None:
    scenario = Scenario()
    scenario.log.faults = [Fault("broken", after_seconds=2), *[Refusal()] * 500]
    async with scenario.running():
        scenario.write_lines("one")
        await asyncio.sleep(1.99)
    assert 30 < asyncio.get_running_loop().time() < 40
    assert scenario.report
    assert scenario.report.complete is False


STEPS = 60
"""Number of moments at which `test_cancelled_follower_closes_all_streams` cancels, one per test."""


async def _write_slowly(scenario: Scenario) -> None:
    for number in range(30):
        scenario.write_lines(f'{{"n": {number}}}')
        await asyncio.sleep(0.37)


@pytest.mark.parametrize("step", range(STEPS))
async def test_cancelled_follower_closes_all_streams(step: int) -> None:
    """The follower is cancelled during a request, a read, a pause, a delivery or the completion."""
    scenario = Scenario(sink=RecordingSink(pause=0.05))
    scenario.log.faults = [
        Fault("eof", after_bytes=100),
        Refusal(503),
        Fault("broken", after_bytes=300),
        Fault("hang", after_bytes=400),
        None,
    ]
    async with asyncio.TaskGroup() as group:
        following = group.create_task(Follower(scenario.log, scenario.sink).run(scenario.ended))
        acting = group.create_task(_write_slowly(scenario))
        await asyncio.sleep(step * 0.013 if step < STEPS // 2 else step * 0.31)
        if step % 3 == 0:
            scenario.ended.set_result(None)
            await asyncio.sleep(0.003 * step)
        following.cancel()
        acting.cancel()
    assert following.cancelled() or scenario.ended.done()
    assert not scenario.log.open_responses


def large_lines(lines: int = 6000) -> list[str]:
    return [f'{{"n": {n}, "pad": "{"x" * 1000}"}}' for n in range(lines)]


async def test_large_log_with_delivered_last_lines_is_not_read_twice() -> None:
    scenario, lines = Scenario(), large_lines()
    async with scenario.running():
        scenario.write_lines(*lines)
        await asyncio.sleep(1)
    assert scenario.out == "\n".join([*lines, ""])
    assert [(request.follow, request.tail) for request in scenario.log.requests] == [
        (True, None),
        (False, 64),  # only the last 64 lines are read again
    ]


async def test_lines_after_normal_end_of_large_stream_are_delivered() -> None:
    scenario, lines = Scenario(), large_lines()
    async with scenario.running():
        scenario.write_lines(*lines)
        await asyncio.sleep(1)
        scenario.log.open_responses[0].end()
        scenario.write_lines("late")
        scenario.log.faults = [Fault("eof"), None, None]
    assert scenario.out == "\n".join([*lines, "late", ""])


async def test_large_last_lines_are_compared_as_far_as_they_are_kept() -> None:
    """Only some of the last lines are kept, so only those can be compared."""
    scenario, lines = Scenario(), large_lines()
    async with scenario.running():
        for first in range(0, len(lines), 12):
            scenario.write_lines(*lines[first : first + 12])
            await asyncio.sleep(0.5)
    assert scenario.out == "\n".join([*lines, ""])
    assert scenario.log.requests[-1].tail == 64


async def test_equal_last_lines_do_not_prove_the_end() -> None:
    """The server may have more such lines than were delivered; only a second full read decides."""
    scenario, lines = Scenario(), [*large_lines(), *["same"] * 100]
    async with scenario.running():
        scenario.write_lines(*lines)
        await asyncio.sleep(1)
    assert scenario.out == "\n".join([*lines, ""])
    assert scenario.log.requests[-1].tail is None
