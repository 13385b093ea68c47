"""The follower against the model of the kubelet, one situation at a time, on virtual time."""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from tests.support.kubelet_log import APOLOGY, RECORD_BYTES, Fault, KubeletLog, Refusal, stamp
from tests.support.log_sinks import NONCE, Heard, HungVolume, RelayFile, Scene, totals

from paperclip_claude_k8s.podlog import (
    ContainerChanged,
    Cursor,
    Follower,
    Gap,
    LogReport,
    Notice,
    NotLogText,
    Reconnecting,
    SinkFailed,
    SourceInfo,
    Totals,
)
from paperclip_claude_k8s.podlog.connection import Session
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.dialer import Dialer
from paperclip_claude_k8s.podlog.follow_options import FollowTimings
from paperclip_claude_k8s.podlog.rate_limiter import RateLimiter

pytestmark = pytest.mark.looptime


async def test_lines_reach_the_sink_as_they_come_and_the_totals_end_it_without_another_request() -> None:
    scene = Scene(origin=SourceInfo(nonce=NONCE, expected=lambda: totals(b"one\ntwo\n")))
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
        assert scene.out == "one\n"
        scene.say("two")
        scene.mark("e to stderr")
        await asyncio.sleep(1)
    assert scene.report == LogReport(True, 8, 2, 0, (), 0, None, totals(b"one\ntwo\n").sha256)
    assert scene.heard.err == b"to stderr\n"
    assert len(scene.log.requests) == 1


async def test_lines_that_came_together_are_handed_on_together() -> None:
    scene = Scene()
    async with scene.running():
        await asyncio.sleep(1)
        scene.say(*map(str, range(1000)))
        await asyncio.sleep(1)
    assert scene.heard.blocks == ["".join(f"{n}\n" for n in range(1000)).encode()]


async def test_a_silent_stream_is_replaced_after_65_s_and_closed_after_the_new_one_delivered() -> None:
    scene = Scene(origin=SourceInfo(nonce=NONCE))
    scene.log.faults = [Fault("hang", after_seconds=21)]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(20)
        scene.mark("b 4 1")
        await asyncio.sleep(10)
        scene.say("two")
        await asyncio.sleep(54.9)
        assert (scene.out, len(scene.log.open_answers)) == ("one\n", 1)
        await asyncio.sleep(0.102)
        assert (scene.out, len(scene.log.open_answers)) == ("one\n", 1)
        assert len(scene.log.requests) == 2
        await asyncio.sleep(0.1)
        assert (scene.out, len(scene.log.open_answers)) == ("one\ntwo\n", 1)


async def test_an_end_that_comes_as_a_read_gives_up_disturbs_nothing() -> None:
    """A busy loop finds both due, and tells the end to a read that is giving up already."""
    loop, complaints, origin, pace = asyncio.get_running_loop(), list[Any](), SourceInfo(), FollowTimings()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    delivery = Delivery(Heard(), origin)
    dialer = Dialer(KubeletLog(), delivery.trail, RateLimiter(), patience=pace.answer)
    session = Session(dialer, delivery, origin, pace, None)
    feed = await session.dial(follow=True)
    assert feed is not None
    ended = loop.create_future()
    ended.add_done_callback(session.hurry)
    loop.call_later(5, ended.set_result, None)
    with pytest.raises(TimeoutError):
        await session.read(feed, 5)
    await feed.close()
    assert complaints == []


async def test_bookmarks_keep_a_quiet_stream_open_without_any_request() -> None:
    scene = Scene(origin=SourceInfo(nonce=NONCE))
    async with scene.running():
        for _ in range(180):
            await asyncio.sleep(20)
            scene.mark("b 0 0")
    # before the first bookmark nobody knows that there will be any; the last read completes the log
    assert [request.follow for request in scene.log.requests if request.at < 3599] == [True]


async def test_without_bookmarks_bounded_reads_ask_whether_a_silent_stream_missed_something() -> None:
    scene = Scene()
    scene.log.faults = [Fault("hang", after_seconds=1)]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(35)
        assert [request.follow for request in scene.log.requests] == [True, False]
        scene.say("two")
        await asyncio.sleep(56)
        assert scene.out == "one\ntwo\n"
        assert [request.follow for request in scene.log.requests] == [True, False, False, True]
    assert scene.out == "one\ntwo\n"


async def test_a_healthy_quiet_container_is_never_given_up() -> None:
    scene = Scene()
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(24 * 3600)
        scene.say("two")
        await asyncio.sleep(1)
        assert scene.out == "one\ntwo\n"
    assert len(scene.log.requests) < 24 * 60 + 10


async def test_a_cut_each_minute_for_a_day_loses_nothing() -> None:
    scene = Scene()
    scene.log.faults = [Fault("eof", after_seconds=60) for _ in range(24 * 60)]
    async with scene.running():
        for number in range(24 * 60):
            scene.say(str(number))
            await asyncio.sleep(60)
    assert scene.out == "".join(f"{number}\n" for number in range(24 * 60))
    assert scene.report
    assert scene.report.reconnects > 500
    assert not scene.report.gaps


async def test_a_line_written_during_a_cut_comes_within_a_second() -> None:
    scene = Scene()
    scene.log.faults = [Fault("broken", after_seconds=10)]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(10.01)
        scene.say("two")
        await asyncio.sleep(0.5)
        assert scene.out == "one\ntwo\n"


async def test_an_outage_is_borne_for_as_long_as_it_lasts_and_said_once_a_minute() -> None:
    scene = Scene()
    scene.log.faults = [Fault("broken", after_seconds=1), *[Refusal(503)] * 150]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(300)
        assert len(scene.log.requests) < 110
        said = [notice for notice in scene.heard.notices if isinstance(notice, Reconnecting)]
        assert 4 <= len(said) <= 6
        await asyncio.sleep(600)
        scene.say("two")
        await asyncio.sleep(1)
        assert scene.out == "one\ntwo\n"


async def test_a_server_that_was_away_is_found_within_a_second_of_its_return() -> None:
    for seconds in range(40, 45):
        scene = Scene()
        scene.log.faults = [Fault("broken", after_seconds=1), *[Refusal(0)] * 100]
        async with scene.running():
            scene.say("one")
            await asyncio.sleep(seconds)
            scene.say("two")
            assert len(scene.log.requests) < 1.3 * seconds
            scene.log.faults.clear()
            await asyncio.sleep(1)
            assert scene.out == "one\ntwo\n"


async def test_the_server_says_when_to_come_back() -> None:
    scene = Scene()
    scene.log.faults = [Refusal(429, retry_after=30.0)]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(29.9)
        assert len(scene.log.requests) == 1
        await asyncio.sleep(1)
        assert scene.out == "one\n"


async def test_an_error_inside_an_answer_is_reported_and_not_delivered() -> None:
    scene = Scene()
    scene.log.faults = [Fault("apology", after_seconds=5), *[Fault("apology", 0)] * 10]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(5)
        scene.say("two")
        await asyncio.sleep(60)
    assert scene.out == "one\ntwo\n"
    assert [notice for notice in scene.heard.notices if isinstance(notice, NotLogText)] == [
        NotLogText(APOLOGY.decode())
    ]


async def test_the_kubelets_own_sentence_is_told_from_a_last_line_without_newline() -> None:
    scene = Scene()
    scene.log.write(b"one\nlast")
    scene.log.write(APOLOGY)
    async with scene.running():
        await asyncio.sleep(1)
    assert scene.out == "one\nlast"
    assert NotLogText(APOLOGY.decode()) in scene.heard.notices


async def test_a_last_line_without_newline_is_delivered_once_the_container_ended() -> None:
    scene = Scene()
    async with scene.running():
        scene.log.write(b"one\nlast")
        await asyncio.sleep(5)
        assert scene.out == "one\n"
    assert scene.out == "one\nlast"
    assert scene.report
    assert (scene.report.bytes, scene.report.lines) == (8, 2)


async def test_a_container_that_wrote_nothing_has_an_empty_log() -> None:
    scene = Scene()
    async with scene.running():
        await asyncio.sleep(1)
    assert scene.report == LogReport(None, 0, 0, 0, (), 0, None, sha256().hexdigest())


async def test_a_raising_sink_ends_nothing_and_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    text = b"0\n1\n2\n"
    scene = Scene(heard=Heard(fails=True), origin=SourceInfo(nonce=NONCE, expected=lambda: totals(text)))
    async with scene.running():
        for number in range(3):
            scene.say(str(number))
            await asyncio.sleep(1)
    assert scene.out == text.decode()
    assert scene.report
    assert scene.report.complete is False
    assert scene.report.sink_failures == 3
    assert isinstance(scene.report.first_sink_error, OSError)
    (told,) = [notice for notice in scene.heard.notices if isinstance(notice, SinkFailed)]
    assert told.error is scene.report.first_sink_error
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("paperclip_claude_k8s", "ERROR")
    assert record.exc_info is not None


async def test_a_sink_that_raises_at_everything_it_is_told_is_counted_and_ends_nothing() -> None:
    class Broken(Heard):
        async def stdout(self, block: bytes) -> None:
            raise ValueError

        stderr = stdout

        async def notice(self, notice: Notice) -> None:
            raise ValueError(notice)

    scene = Scene(heard=Broken(), origin=SourceInfo(nonce=NONCE, expected=lambda: totals(b"one\n")))
    async with scene.running():
        scene.say("one")
        scene.mark("e to stderr")
        await asyncio.sleep(1)
    assert scene.report
    assert scene.report.complete is False
    assert scene.report.sink_failures == 3


async def test_a_second_read_that_breaks_off_has_no_line_told_twice() -> None:
    scene = Scene()
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
        (stream,) = scene.log.open_answers
        stream.stalled = True
        scene.say("two", "three", "four")
        scene.log.faults = [Fault("broken", after_bytes=len(stamp(0)) * 3 + 4 + 4 + 6)]
        await asyncio.sleep(40)
        stream.stalled = False
        scene.log.wake()
        await asyncio.sleep(2)
    assert scene.out == "one\ntwo\nthree\nfour\n"


async def test_a_slow_sink_slows_the_reading() -> None:
    scene = Scene(heard=Heard(pause=10.0))
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
        scene.say("two")
        await asyncio.sleep(1)
        assert scene.out == "one\n"
    assert scene.out == "one\ntwo\n"


async def test_totals_that_are_not_met_are_told_with_what_is_missing() -> None:
    scene = Scene(origin=SourceInfo(nonce=NONCE, expected=lambda: totals(b"one\ntwo\n")))
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
    assert scene.report
    assert scene.report.complete is False
    assert [(gap.bytes, gap.lines) for gap in scene.report.gaps] == [(4, 1)]


async def test_the_end_of_a_log_that_is_gone_comes_from_the_relays_file() -> None:
    text = "one\ntwo\nthree"
    file = RelayFile(bytearray(text.encode()))
    scene = Scene(origin=SourceInfo(nonce=NONCE, expected=lambda: totals(text.encode()), filler=file))
    scene.log.faults = [Fault("broken", after_seconds=5), *[Refusal(404)] * 5]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(4.99)
    assert scene.out == text
    assert scene.report
    assert scene.report.complete is True
    assert asyncio.get_running_loop().time() < 8


async def test_a_gap_is_filled_in_order_where_the_relays_file_can_be_read() -> None:
    file = RelayFile()
    scene = Scene(origin=SourceInfo(nonce=NONCE, filler=file))
    scene.log.faults = [Fault("broken", after_seconds=1), Refusal(503), Refusal(503)]
    texts = [f'{{"n": {number}}}' for number in range(6)]
    async with scene.running():
        for number, text in enumerate(texts):
            file.content += text.encode() + b"\n"
            scene.say(text)
            if number in (0, 5):
                await asyncio.sleep(1.1)
            if number == 3:
                scene.log.rotate()
        await asyncio.sleep(5)
        assert scene.out == "".join(text + "\n" for text in texts)
    assert [filled.lines for filled in scene.heard.filled()] == [3]


@pytest.mark.parametrize("answers", [3, 4])
async def test_a_server_that_shows_an_empty_log_is_told_neither_twice_nor_with_a_gap(answers: int) -> None:
    scene = Scene()
    empty = Fault("eof", 0)
    scene.log.faults = [Fault("broken", after_seconds=1), Fault("hang", 10), *[empty] * answers]
    async with scene.running():
        scene.say("one", "two")
        await asyncio.sleep(30)
        scene.say("three")
        await asyncio.sleep(1)
    assert scene.out == "one\ntwo\nthree\n"
    assert scene.heard.gaps() == []


@pytest.mark.parametrize("nonce", [None, NONCE])
async def test_a_gap_that_cannot_be_filled_is_told_with_the_times_on_both_sides(nonce: str | None) -> None:
    scene = Scene(origin=SourceInfo(nonce=nonce, filler=RelayFile(fails=True)))
    scene.log.faults = [Fault("broken", after_seconds=1), Refusal(503), Refusal(503)]
    async with scene.running():
        scene.say('{"n": 1}')
        await asyncio.sleep(1.1)
        before = scene.log.now()
        scene.say('{"n": 2}')
        scene.log.rotate()
        scene.say('{"n": 3}')
        await asyncio.sleep(20)
        scene.mark("b 27 3")
        await asyncio.sleep(1)
    gap, *rest = scene.heard.gaps()
    assert (gap.bytes, gap.lines) == ((9, 1) if nonce else (None, None))
    assert (gap.since, gap.until) == (before - 1_100_000_000, before)
    assert not rest
    assert scene.report
    assert scene.report.complete is False


async def test_a_loss_before_a_last_line_without_newline_is_told() -> None:
    scene = Scene(log=KubeletLog(drains=False))
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
        scene.log.faults = [Fault("broken"), Refusal(503)]
        scene.log.open_answers[0].end()
        scene.say("two")
        scene.log.rotate()
        scene.log.write(b"three")
        await asyncio.sleep(1)
    assert scene.out == "one\nthree"
    assert len(scene.heard.gaps()) == 1


async def test_a_part_of_a_line_after_a_loss_is_no_last_line() -> None:
    scene = Scene()
    scene.log.faults = [Fault("broken", after_seconds=1)]
    whole, torn = '{"n": 1}', b'{"pad": "' + b"x" * 60_000
    async with scene.running():
        scene.say(whole)
        await asyncio.sleep(1.01)
        scene.log.record(torn[:RECORD_BYTES])
        scene.log.rotate()
        scene.log.record(torn[RECORD_BYTES : 2 * RECORD_BYTES])
    assert scene.out == whole + "\n"
    assert len(scene.heard.gaps()) == 1


async def test_a_volume_that_hangs_holds_the_lines_after_a_loss_for_seconds() -> None:
    volume = HungVolume()
    scene = Scene(origin=SourceInfo(nonce=NONCE, filler=volume))
    scene.log.faults = [Fault("broken", after_seconds=1), Refusal(503), Refusal(503)]
    async with scene.running():
        scene.say('{"n": 1}')
        await asyncio.sleep(1.1)
        scene.say('{"n": 2}')
        scene.log.rotate()
        scene.say('"}', '{"n": 3}')
        await asyncio.sleep(14)
        assert scene.out.endswith('{"n": 3}\n')


async def test_a_suspected_gap_is_none_when_the_counts_agree() -> None:
    scene = Scene(origin=SourceInfo(nonce=NONCE))
    scene.log.faults = [Fault("broken", after_seconds=1), Refusal(503)]
    async with scene.running():
        scene.say('{"n": 1}')
        await asyncio.sleep(1.1)
        scene.log.rotate()
        scene.say('{"n": 2}')
        await asyncio.sleep(20)
        scene.mark("b 18 2")
        await asyncio.sleep(1)
    assert scene.out == '{"n": 1}\n{"n": 2}\n'
    assert not scene.heard.gaps()


async def test_lines_lost_by_a_stream_that_was_never_cut_are_found_by_the_counts() -> None:
    scene = Scene(log=KubeletLog(drains=False), origin=SourceInfo(nonce=NONCE))
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
        scene.say("two")
        scene.log.rotate()
        await asyncio.sleep(20)
        scene.mark("b 8 2")
        await asyncio.sleep(1)
        assert [(gap.bytes, gap.lines) for gap in scene.heard.gaps()] == [(4, 1)]


async def test_a_container_that_was_started_again_is_told() -> None:
    log = KubeletLog()
    scene = Scene(log=log, origin=SourceInfo(container=lambda: f"containerd://{log.container}"))
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1)
        log.restart()
        scene.say("two")
        await asyncio.sleep(1)
    assert scene.out == "one\ntwo\n"
    assert ContainerChanged("containerd://0", "containerd://1") in scene.heard.notices
    assert scene.heard.gaps()


async def test_lines_behind_a_clock_set_back_during_a_cut_are_found() -> None:
    scene = Scene(origin=SourceInfo(nonce=NONCE))
    scene.log.faults = [Fault("broken", after_seconds=30)]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(20)
        scene.mark("b 4 1")
        await asyncio.sleep(10.01)
        scene.log.clock_offset -= 3600 * 10**9
        scene.say("two")
        await asyncio.sleep(80)
        assert scene.out == "one\ntwo\n"


async def test_a_stored_position_goes_on_without_losing_or_repeating_a_line() -> None:
    log = KubeletLog()
    first = Scene(log=log)
    async with asyncio.TaskGroup() as group:
        follower = Follower(log, first.heard)
        following = group.create_task(follower.run(first.ended))
        first.say("one", "two", "two")
        await asyncio.sleep(1)
        stored = follower.cursor.to_json()
        following.cancel()
    second = Scene(
        log=log, origin=SourceInfo(cursor=Cursor.from_json(stored), expected=lambda: Totals(16, 4))
    )
    async with second.running():
        second.say("two")
        await asyncio.sleep(1)
    assert (first.out, second.out) == ("one\ntwo\ntwo\n", "two\n")
    assert second.report
    assert second.report.complete is True
    assert second.report.sha256 is None


async def test_a_log_that_is_gone_costs_no_long_wait() -> None:
    scene = Scene()
    scene.log.faults = [Fault("broken", after_seconds=2), *[Refusal(404)] * 50]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1.99)
    assert asyncio.get_running_loop().time() < 4
    assert scene.heard.gaps() == [Gap(scene.heard.gaps()[0].since, None)]


async def test_a_server_that_stays_away_after_the_end_is_given_up_after_30_s() -> None:
    scene = Scene()
    scene.log.faults = [Fault("broken", after_seconds=2), *[Refusal()] * 500]
    async with scene.running():
        scene.say("one")
        await asyncio.sleep(1.99)
    assert 30 < asyncio.get_running_loop().time() < 40
    assert scene.report
    assert scene.report.complete is False


STEPS = 60


async def _act(scene: Scene) -> None:
    for number in range(30):
        scene.say(f'{{"n": {number}}}')
        await asyncio.sleep(0.37)


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_cancelled_follower_leaves_nothing_open(step: int) -> None:
    """Cancelled at each of many moments: during a request, a read, a pause, a delivery, the completion."""
    scene = Scene(heard=Heard(pause=0.05))
    scene.log.faults = [Fault("eof", 100), Refusal(503), Fault("broken", 300), Fault("hang", 400), None]
    async with asyncio.TaskGroup() as group:
        following = group.create_task(Follower(scene.log, scene.heard).run(scene.ended))
        acting = group.create_task(_act(scene))
        await asyncio.sleep(step * 0.013 if step < STEPS // 2 else step * 0.31)
        if step % 3 == 0:
            scene.ended.set_result(None)
            await asyncio.sleep(0.003 * step)
        following.cancel()
        acting.cancel()
    assert following.cancelled() or scene.ended.done()
    assert not scene.log.open_answers


def bulky(lines: int = 6000) -> list[str]:
    return [f'{{"n": {n}, "pad": "{"x" * 1000}"}}' for n in range(lines)]


async def test_a_bulky_log_without_a_relay_is_not_read_twice_when_its_last_lines_are_the_delivered_ones() -> (
    None
):
    scene, lines = Scene(), bulky()
    async with scene.running():
        scene.say(*lines)
        await asyncio.sleep(1)
    assert scene.out == "\n".join([*lines, ""])
    assert [(request.follow, request.tail) for request in scene.log.requests] == [(True, None), (False, 64)]


async def test_lines_that_come_after_a_clean_end_of_a_bulky_stream_are_still_had() -> None:
    scene, lines = Scene(), bulky()
    async with scene.running():
        scene.say(*lines)
        await asyncio.sleep(1)
        scene.log.open_answers[0].end()
        scene.say("late")
        scene.log.faults = [Fault("eof"), None, None]
    assert scene.out == "\n".join([*lines, "late", ""])


async def test_the_last_lines_are_compared_as_far_as_they_are_kept() -> None:
    """Of a bulky ending only a few lines are remembered."""
    scene, lines = Scene(), bulky()
    async with scene.running():
        for first in range(0, len(lines), 12):
            scene.say(*lines[first : first + 12])
            await asyncio.sleep(0.5)
    assert scene.out == "\n".join([*lines, ""])
    assert scene.log.requests[-1].tail == 64


async def test_last_lines_that_are_all_the_same_prove_nothing() -> None:
    """The server may have more of them than came; only a second read tells."""
    scene, lines = Scene(), [*bulky(), *["same"] * 100]
    async with scene.running():
        scene.say(*lines)
        await asyncio.sleep(1)
    assert scene.out == "\n".join([*lines, ""])
    assert scene.log.requests[-1].tail is None
