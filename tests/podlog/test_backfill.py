"""What the stream leaves out though nobody cut it: put in order from the relay's file, or left alone."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kubelet_log import NANO, Fault, KubeletLog, stamp
from tests.support.log_sinks import (
    NONCE,
    HangingRelayFile,
    MemoryRelayFile,
    RecordingSink,
    Scenario,
    follow,
    totals,
)

from paperclip_claude_k8s.podlog import FileUnusable, FollowTimings, GapFilled, SourceInfo, Totals
from paperclip_claude_k8s.podlog.backfill import (
    COMPARE_TIMEOUT,
    DIFFERS,
    LATE,
    READ_TIMEOUT,
    SEARCH_BYTES,
    TOO_SHORT,
)
from paperclip_claude_k8s.podlog.log_lines import RECORD_BYTES, LineBatch, LineReader
from paperclip_claude_k8s.podlog.pipeline import Deliverer, Pipeline

pytestmark = pytest.mark.looptime


class Harness:
    """A deliverer with a relay file, fed without a stream."""

    def __init__(self, file: MemoryRelayFile) -> None:
        self.sink = RecordingSink()
        self.deliverer = Deliverer(self.sink, NONCE, file)
        self.counts = self.deliverer.counts
        self._reader = LineReader()
        self._time = NANO

    async def take(self, *lines: bytes) -> None:
        """One chunk of the log."""
        self._time += NANO
        for batch in self._reader.feed(b"".join(stamp(self._time) + line + b"\n" for line in lines)):
            assert isinstance(batch, LineBatch)
            await self.deliverer.batch(batch)

    async def finish(self, totals: Totals | None) -> None:
        """The end of the log."""
        await Pipeline(self.deliverer, has_relay=True).finish(totals, read_all=True)

    async def why_unusable(self, totals: Totals | None) -> str | None:
        assert self.deliverer.backfill
        return await self.deliverer.backfill.why_unusable(totals)


def event(number: int, size: int) -> bytes:
    """A JSON object of about so many bytes, which stays one when records are taken out of its middle."""
    return b'{"n":%d,"pad":"%s"}\n' % (number, (b"%d," % number * size)[:size])


def beside(file: MemoryRelayFile, log: KubeletLog, *, counted: bool = False) -> Scenario:
    """A follower at work with the relay's file at hand; `counted`: the relay tells its totals at the end."""
    source_info = SourceInfo(nonce=NONCE, relay_file=file)
    if counted:
        source_info = replace(source_info, expected_totals=lambda: totals(bytes(file.content)))
    return Scenario(log=log, source_info=source_info)


async def test_a_file_that_a_kubelet_leaves_out_of_a_stream_is_put_in_order() -> None:
    log, file = KubeletLog(sticks=True), MemoryRelayFile()
    scenario = beside(file, log, counted=True)
    async with scenario.running():
        for number in range(9):
            if number in (3, 6):
                log.rotate()
            text = f'{{"n": {number}}}\n'.encode()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        assert scenario.sink.out == file.content
    assert scenario.report
    assert (scenario.report.complete, scenario.report.gaps, scenario.report.reconnects) == (True, (), 0)
    first, last = (log.files[0].records[-1].time, log.files[2].records[0].time)
    assert scenario.sink.filled() == [GapFilled(first, last, 27, 3)]


async def test_a_stream_that_stays_at_an_old_file_is_noticed_by_the_relays_file() -> None:
    log, file = KubeletLog(sticks=True), MemoryRelayFile()
    scenario = beside(file, log, counted=True)
    async with scenario.running():
        for text in (b"one\n", b"two\n"):
            log.rotate()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        assert scenario.sink.out == b"one\n"
        await asyncio.sleep(7)
        assert scenario.sink.out == file.content
    assert scenario.report
    assert scenario.report.complete


async def test_a_long_line_that_did_not_come_is_noticed_as_soon() -> None:
    log, file = KubeletLog(sticks=True), MemoryRelayFile()
    scenario = beside(file, log)
    async with scenario.running():
        for text in (b"one\n", event(2, 300_000)):
            log.rotate()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        await asyncio.sleep(7)
        assert scenario.sink.out == file.content


@pytest.mark.parametrize("head_was_read", [True, False])
async def test_a_line_that_lost_records_at_a_rotation_comes_whole_from_the_file(head_was_read: bool) -> None:  # noqa: FBT001
    log, file = KubeletLog(drains=False), MemoryRelayFile()
    big = event(2, 60_000)
    head, lost, *others = (big[at : at + RECORD_BYTES] for at in range(0, len(big), RECORD_BYTES))
    scenario = beside(file, log, counted=True)
    async with scenario.running():
        log.write(event(1, 10))
        await asyncio.sleep(1)
        file.content += event(1, 10) + big + event(3, 10)
        log.record(head)
        await asyncio.sleep(1 if head_was_read else 0)
        log.record(lost)
        log.rotate()
        for record in others:
            log.record(record)
        log.write(event(3, 10))
        await asyncio.sleep(1)
        assert scenario.sink.out == file.content
    assert scenario.report
    assert (scenario.report.complete, scenario.report.gaps, scenario.report.lines) == (True, (), 3)


@pytest.mark.parametrize("torn", [True, False])
async def test_a_log_that_lost_its_beginning_before_it_was_followed_is_whole(torn: bool) -> None:  # noqa: FBT001
    log = KubeletLog()
    first, big, last = event(1, 10), event(2, 40_000), event(3, 10)
    file = MemoryRelayFile(bytearray(first + big + last))
    log.write(first + big[:RECORD_BYTES] if torn else first)
    log.rotate()
    log.write((big[RECORD_BYTES:] if torn else big) + last)
    scenario = beside(file, log, counted=True)
    async with scenario.running():
        await asyncio.sleep(3)
        assert scenario.sink.out == file.content
    assert scenario.report
    assert scenario.report.complete


@pytest.mark.parametrize("text", [b"thinking", b"never logged\n"])
async def test_a_file_that_stays_ahead_causes_one_reconnect_at_most(text: bytes) -> None:
    log, file = KubeletLog(), MemoryRelayFile(bytearray(b"one\n" + text))
    log.write(b"one\n")
    scenario = beside(file, log)
    async with scenario.running():
        await asyncio.sleep(25)
        reconnects = [request for request in log.requests[1:] if request.follow]
        assert len(reconnects) == text.count(b"\n")
    assert scenario.report
    assert scenario.report.lines == text.count(b"\n") + 1 + (not text.endswith(b"\n"))


@given(
    st.lists(
        st.tuples(st.sampled_from([b"", b"a", b"b", b"longer", b'{"n":1}']), st.booleans(), st.booleans()),
        max_size=40,
    )
)
async def test_whatever_is_left_out_and_however_it_is_cut_all_comes_in_order(
    lines: list[tuple[bytes, bool, bool]],
) -> None:
    """Each line: its text, whether the log has it, and whether a chunk ends after it."""
    file = MemoryRelayFile(bytearray(b"".join(text + b"\n" for text, _, _ in lines)))
    harness, chunk = Harness(file), []
    for text, logged, cut in lines:
        chunk += [text] if logged else []
        if cut and chunk:
            await harness.take(*chunk)
            chunk = []
    await harness.take(*chunk)
    await harness.finish(totals(bytes(file.content)))
    assert harness.sink.out == file.content
    assert harness.counts.matches(totals(bytes(file.content)))
    assert harness.counts.lines == len(lines)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 40)), max_size=14))
async def test_a_file_that_shows_late_repeats_no_line_and_turns_none_around(
    lines: list[tuple[bool, bool, int]],
) -> None:
    """Each line: whether it is blank, whether the log has it, and how much of the file is hidden then."""
    texts = [b"" if blank else b"%d" % number for number, (blank, _, _) in enumerate(lines)]
    file = MemoryRelayFile(bytearray(b"".join(text + b"\n" for text in texts)))
    harness, file.hidden = Harness(file), len(file.content)
    for text, (_, logged, hidden) in zip(texts, lines, strict=True):
        file.hidden = min(file.hidden, hidden)
        if logged:
            await harness.take(text)
    numbers = [int(text) for text in bytes(harness.sink.out).split()]
    assert numbers == sorted(set(numbers))


async def test_a_place_is_not_proven_by_a_blank_line() -> None:
    file = MemoryRelayFile(bytearray(b"x1\n\nx2\n\nx3\n\nx4\n\n"), hidden=12)
    harness = Harness(file)
    for text in (b"x1", b"", b"x3", b""):
        await harness.take(text)
    file.hidden = 0
    await harness.take(b"x4")
    assert harness.sink.out == b"x1\n\nx3\n\nx4\n"
    assert asyncio.get_running_loop().time() == 0


async def test_long_lines_that_begin_alike_are_told_apart() -> None:
    one, other = b"x" * 70_000 + b"1", b"x" * 70_000 + b"2"
    file = MemoryRelayFile(bytearray(b"first\n" + one + b"\n" + other + b"\nlast\n"))
    harness = Harness(file)
    for text in (b"first", other, b"last"):
        await harness.take(text)
    assert harness.sink.out == file.content


async def test_longer_lines_that_begin_alike_end_the_mending_and_nothing_else() -> None:
    one, other = b"x" * SEARCH_BYTES + b"1", b"x" * SEARCH_BYTES + b"2"
    harness = Harness(MemoryRelayFile(bytearray(one + b"\n" + other + b"\n")))
    await harness.take(other)
    assert harness.sink.out == other + b"\n"


async def test_mending_goes_on_once_the_relay_has_counted() -> None:
    texts = [b"line %03d" % number for number in range(60)]
    file = MemoryRelayFile(bytearray(b"".join(text + b"\n" for text in texts)), hidden=59 * 9)
    harness = Harness(file)
    await harness.take(texts[0])
    await harness.take(texts[5])
    file.hidden = 0
    await harness.take(texts[6])
    await harness.take(b"\x1e0badc0de b %d 7" % (7 * 9))
    assert [(gap.bytes, gap.lines) for gap in harness.sink.gaps()] == [(4 * 9, 4)]
    await harness.take(texts[50])
    assert harness.sink.out == b"".join(text + b"\n" for text in (texts[0], *texts[5:51]))


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"longer"]), st.booleans()), max_size=20), st.binary())
async def test_a_file_that_is_something_else_takes_no_line_of_the_log_away(
    lines: list[tuple[bytes, bool]], content: bytes
) -> None:
    harness, chunk = Harness(MemoryRelayFile(bytearray(content))), []
    for text, cut in lines:
        chunk.append(text)
        if cut:
            await harness.take(*chunk)
            chunk = []
    await harness.take(*chunk)
    out = iter(bytes(harness.sink.out).splitlines())
    assert all(text in out for text, _ in lines)


async def test_a_file_that_shows_late_is_not_waited_for() -> None:
    file = MemoryRelayFile(bytearray(b"one\n"))
    harness = Harness(file)
    began = asyncio.get_running_loop().time()
    await harness.take(b"one", b"two")
    await harness.take(b"three")
    assert asyncio.get_running_loop().time() == began
    file.content += b"two\nthree\nfour\nfive\n"
    await harness.take(b"five")
    assert harness.sink.out == file.content


async def test_a_file_that_differs_is_asked_once() -> None:
    file = MemoryRelayFile(bytearray(b"somebody else's\n" * 10))
    harness = Harness(file)
    for number in range(10):
        await harness.take(b"line %d" % number)
    assert harness.sink.out == b"".join(b"line %d\n" % number for number in range(10))
    assert asyncio.get_running_loop().time() < 5
    assert harness.sink.notices == []


async def test_a_volume_that_hangs_holds_no_line_up_for_long() -> None:
    volume, loop = HangingRelayFile(), asyncio.get_running_loop()
    harness, waited = Harness(volume), []
    for number in range(150):
        began = loop.time()
        await harness.take(b"line %d" % number)
        waited.append(loop.time() - began)
        await asyncio.sleep(1)
    assert harness.sink.out.count(b"\n") == 150
    assert max(waited) <= COMPARE_TIMEOUT
    assert volume.asked == 3


class StallingRelayFile(MemoryRelayFile):
    """One whose server stops answering after so many reads."""

    reads = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.reads -= 1
        if self.reads < 0:
            await asyncio.Event().wait()
        return await super().read(start, stop)


@pytest.mark.parametrize("reads", range(1, 8))
async def test_a_volume_that_hangs_in_the_middle_of_a_look_takes_no_line_away(reads: int) -> None:
    texts = [b"line %03d" % number for number in range(100)]
    volume = StallingRelayFile(bytearray(b"".join(text + b"\n" for text in texts)))
    harness, volume.reads = Harness(volume), reads
    await harness.take(texts[0])
    await harness.take(*texts[50:])
    out = bytes(harness.sink.out).splitlines()
    assert out in (texts, [texts[0], *texts[50:]])
    assert asyncio.get_running_loop().time() <= READ_TIMEOUT


async def test_a_quiet_stream_is_read_once_more_after_as_long_as_without_a_file() -> None:
    log, file = KubeletLog(), MemoryRelayFile(bytearray(b"one\n"))
    log.write(b"one\n")
    scenario = beside(file, log)
    async with scenario.running():
        await asyncio.sleep(100)
        assert [round(request.at) for request in log.requests] == [0, 30, 90]


async def test_a_healthy_stream_is_not_opened_again_because_the_file_is_a_moment_ahead() -> None:
    log, file = KubeletLog(), MemoryRelayFile()
    scenario = beside(file, log)
    async with scenario.running():
        for number in range(10):
            file.content += event(number, 10)
            await asyncio.sleep(0.2)
            log.write(event(number, 10))
            await asyncio.sleep(FollowTimings().file_check_after - 0.1)
    assert scenario.report
    assert scenario.report.reconnects == 0
    assert scenario.sink.notices == []


class SlowRelayFile(MemoryRelayFile):
    """One that takes its time for each read."""

    delay = 0.0
    asked = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.asked += 1
        await asyncio.sleep(self.delay)
        return await super().read(start, stop)


@pytest.mark.parametrize("delay", [0.3, 2.5])
async def test_a_slow_volume_is_asked_once_a_minute(delay: float) -> None:
    log, volume = KubeletLog(), SlowRelayFile()
    volume.delay = delay
    for number in range(600):
        volume.content += event(number, 10)
        log.write(event(number, 10), log.now() + number * NANO)
    log.terminate()
    report = await follow(log, RecordingSink(), SourceInfo(nonce=NONCE, relay_file=volume))
    assert report.lines == 600
    assert volume.asked == 3  # one comparison, and two reads for the end that nobody counted
    assert asyncio.get_running_loop().time() < 10


async def test_a_long_beginning_that_was_rotated_away_is_filled_from_a_volume_of_usual_speed() -> None:
    log, volume = KubeletLog(), SlowRelayFile()
    volume.delay = 0.2
    volume.content += event(0, 1_000) * 5_000 + event(1, 10)
    log.write(event(1, 10))
    scenario = beside(volume, log)
    async with scenario.running():
        await asyncio.sleep(30)
        assert scenario.sink.out == volume.content


async def test_a_deeply_nested_event_after_a_hole_is_an_event_like_others() -> None:
    deep = b'{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}"
    file = MemoryRelayFile(bytearray(b'{"n":1}\n{"n":2}\n' + deep + b"\n"))
    harness = Harness(file)
    for text in (b'{"n":1}', deep):
        await harness.take(text)
    assert harness.sink.out == file.content


async def test_an_end_during_a_look_at_a_hung_volume_is_noticed_at_once() -> None:
    log, volume = KubeletLog(), HangingRelayFile()
    log.faults = [Fault("hang", after_seconds=1)]
    scenario = beside(volume, log)
    async with scenario.running():
        await asyncio.sleep(5.5)
        assert volume.asked == 1
    assert asyncio.get_running_loop().time() < 30


async def test_a_volume_that_hangs_ends_no_completion() -> None:
    log, sink, volume = KubeletLog(), RecordingSink(), HangingRelayFile()
    source_info = SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\ntwo\n"), relay_file=volume)
    log.write(b"one\n")
    log.terminate()
    report = await follow(log, sink, source_info)
    assert sink.out == b"one\n"
    assert [(gap.bytes, gap.lines) for gap in report.gaps] == [(4, 1)]
    assert asyncio.get_running_loop().time() < 60


# ── a file that others write on ──────────────────────────────────────────────────────────────────


async def test_what_somebody_appended_fills_no_gap_that_the_relay_counted() -> None:
    file = MemoryRelayFile(bytearray(event(1, 10) + b"garbage, and more of it\nand more\n"))
    harness = Harness(file)
    await harness.take(event(1, 10)[:-1])
    lost = event(2, 10) + event(3, 10)
    await harness.take(b"\x1e0badc0de b %d 3" % (len(event(1, 10)) + len(lost)))
    await harness.take(event(4, 10)[:-1])
    assert harness.sink.out == event(1, 10) + event(4, 10)
    assert [(gap.bytes, gap.lines) for gap in harness.sink.gaps()] == [(len(lost), 2)]


async def test_a_hole_in_the_file_fills_no_gap() -> None:
    texts = [event(number, 10) for number in range(6)]
    content = b"".join(texts)
    cut = len(b"".join(texts[:2])) + 3
    hole = bytes(len(b"".join(texts[:4])) - cut)
    harness = Harness(MemoryRelayFile(bytearray(content[:cut] + hole + content[cut + len(hole) :])))
    await harness.take(texts[0][:-1])
    await harness.take(*(text[:-1] for text in texts[4:]))
    assert harness.sink.out == texts[0] + texts[4] + texts[5]


async def test_a_file_that_is_shorter_than_what_was_delivered_fills_nothing() -> None:
    texts = [event(number, 10) for number in range(4)]
    harness = Harness(MemoryRelayFile(bytearray(texts[0][:5])))
    await harness.take(*(text[:-1] for text in texts))
    await harness.finish(None)
    assert harness.sink.out == b"".join(texts)


@pytest.mark.parametrize("tail", [b"garbage\n", b"garbage", bytes(50), b'{"torn": \n'])
async def test_without_a_count_the_end_is_taken_up_to_what_cannot_be_the_agents(tail: bytes) -> None:
    texts = [event(number, 10) for number in range(4)]
    harness = Harness(MemoryRelayFile(bytearray(b"".join(texts) + tail + texts[0])))
    await harness.take(texts[0][:-1])
    await harness.finish(None)
    assert harness.sink.out == b"".join(texts)
    assert await harness.why_unusable(None) == DIFFERS


async def test_a_torn_last_line_is_the_agents() -> None:
    torn = event(2, 100)[:50]
    harness = Harness(MemoryRelayFile(bytearray(event(1, 10) + torn)))
    await harness.finish(None)
    assert harness.sink.out == event(1, 10) + torn
    assert await harness.why_unusable(None) is None


async def test_what_is_left_of_a_file_that_the_relay_gave_up_is_read_and_no_more() -> None:
    texts = [event(number, 10) for number in range(6)]
    content, kept = b"".join(texts), len(b"".join(texts[:4]))
    harness = Harness(MemoryRelayFile(bytearray(content[:kept] + b"{garbage}\n")))
    counted = replace(totals(content), in_file=kept)
    await harness.take(texts[0][:-1])
    await harness.finish(counted)
    assert harness.sink.out == content[:kept]
    assert not harness.counts.matches(counted)
    assert await harness.why_unusable(counted) is None  # the relay has told it


async def damaged(
    content: bytes, file: MemoryRelayFile, kept: int | None
) -> tuple[str | None, list[FileUnusable]]:
    """What is said of this file beside a log that has everything."""
    log, sink = KubeletLog(), RecordingSink()
    counted = Totals(len(content), content.count(b"\n"), totals(content).sha256, kept)
    log.write(content)
    log.terminate()
    report = await follow(
        log, sink, SourceInfo(nonce=NONCE, expected_totals=lambda: counted, relay_file=file)
    )
    assert sink.out == content
    assert report.complete
    return report.file_trouble, [notice for notice in sink.notices if isinstance(notice, FileUnusable)]


@pytest.mark.parametrize("kind", ["whole", "cut", "empty", "other", "appended", "gone"])
async def test_a_file_that_is_of_no_use_is_told_once_with_the_reason(kind: str) -> None:
    content = b"".join(event(number, 100) for number in range(20))
    file, reason = {
        "whole": (MemoryRelayFile(bytearray(content)), None),
        "cut": (MemoryRelayFile(bytearray(content[:-9])), TOO_SHORT),
        "empty": (MemoryRelayFile(), TOO_SHORT),
        "other": (MemoryRelayFile(bytearray(b"x" * len(content))), DIFFERS),
        "appended": (MemoryRelayFile(bytearray(content + b"garbage\n")), DIFFERS),
        "gone": (MemoryRelayFile(fails=True), "the volume is gone"),
    }[kind]
    trouble, told = await damaged(content, file, len(content))
    assert trouble == reason
    assert told == ([FileUnusable(reason)] if reason else [])


async def test_of_a_file_that_the_relay_does_not_speak_of_nothing_is_said() -> None:
    assert await damaged(event(1, 10), MemoryRelayFile(fails=True), None) == (None, [])


async def test_a_volume_that_hangs_is_told_with_the_reason() -> None:
    trouble, told = await damaged(event(1, 10), HangingRelayFile(), len(event(1, 10)))
    assert (trouble, told) == (LATE, [FileUnusable(LATE)])


class LateRelayFile(MemoryRelayFile):
    """One that the relay makes a moment after the first line."""

    async def read(self, start: int, stop: int) -> bytes:
        if asyncio.get_running_loop().time() < 1:
            raise FileNotFoundError("not yet")
        return await super().read(start, stop)


async def test_a_file_that_is_made_a_moment_later_is_used_from_then_on() -> None:
    texts = [event(number, 10) for number in range(9)]
    log, file = KubeletLog(), LateRelayFile(bytearray(b"".join(texts)))
    scenario = beside(file, log, counted=True)
    async with scenario.running():
        for number, text in enumerate(texts):
            if number not in (4, 5):
                log.write(text)
            await asyncio.sleep(1)
    assert scenario.sink.out == file.content
    assert scenario.report
    assert (scenario.report.complete, scenario.report.file_trouble) == (True, None)
