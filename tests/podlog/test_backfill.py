"""Lines that a stream omits without being cut: they are filled in order from the relay's file, or not at all.

The relay's file is its copy of the output on the shared volume. A bookmark is the line `b BYTES LINES` after
the relay's prefix; it counts the output so far.
"""

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
from paperclip_claude_k8s.podlog.backfill import COMPARE_TIMEOUT, DIFFERS, TOO_SHORT
from paperclip_claude_k8s.podlog.file_reader import LATE, READ_TIMEOUT, SEARCH_BYTES
from paperclip_claude_k8s.podlog.log_lines import RECORD_BYTES, LineBatch, LineReader
from paperclip_claude_k8s.podlog.pipeline import OMISSIONS_PER_BLOCK, Deliverer, Pipeline

pytestmark = pytest.mark.looptime


class DelivererHarness:
    """Gives lines to a deliverer with a relay file, without a server that streams a log."""

    def __init__(self, file: MemoryRelayFile) -> None:
        self.sink = RecordingSink()
        self.deliverer = Deliverer(self.sink, NONCE, file)
        self.counts = self.deliverer.counts
        self._reader = LineReader()
        self._time = NANO

    async def take(self, *lines: bytes) -> None:
        """Deliver these lines as one chunk of the log."""
        self._time += NANO
        for batch in self._reader.feed(b"".join(stamp(self._time) + line + b"\n" for line in lines)):
            assert isinstance(batch, LineBatch)
            await self.deliverer.deliver_batch(batch)

    async def finish(self, totals: Totals | None) -> None:
        """Fill the end of the log from the file."""
        await Pipeline(self.deliverer, has_relay=True).finish(totals, read_all=True)

    async def why_unusable(self, totals: Totals | None) -> str | None:
        assert self.deliverer.backfill
        return await self.deliverer.backfill.why_unusable(totals)


def event(number: int, size: int) -> bytes:
    """A line with a JSON object of about `size` bytes, which stays valid without its middle records."""
    return b'{"n":%d,"pad":"%s"}\n' % (number, (b"%d," % number * size)[:size])


def scenario_with(file: MemoryRelayFile, log: KubeletLog, *, counted: bool = False) -> Scenario:
    """A follower with a relay file. `counted`: the relay reports totals at the end."""
    source_info = SourceInfo(nonce=NONCE, relay_file=file)
    if counted:
        source_info = replace(source_info, expected_totals=lambda: totals(bytes(file.content)))
    return Scenario(log=log, source_info=source_info)


async def test_log_file_skipped_by_kubelet_is_filled_in_order() -> None:
    log, file = KubeletLog(stays_at_rotated_file=True), MemoryRelayFile()
    scenario = scenario_with(file, log, counted=True)
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


async def test_stream_stuck_at_old_file_is_detected_by_relay_file() -> None:
    log, file = KubeletLog(stays_at_rotated_file=True), MemoryRelayFile()
    scenario = scenario_with(file, log, counted=True)
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


async def test_stuck_stream_is_detected_by_one_long_line() -> None:
    log, file = KubeletLog(stays_at_rotated_file=True), MemoryRelayFile()
    scenario = scenario_with(file, log)
    async with scenario.running():
        for text in (b"one\n", event(2, 300_000)):
            log.rotate()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        await asyncio.sleep(7)
        assert scenario.sink.out == file.content


@pytest.mark.parametrize("head_is_delivered", [True, False])
async def test_line_that_lost_records_is_filled_whole_from_file(head_is_delivered: bool) -> None:  # noqa: FBT001
    log, file = KubeletLog(reads_rotated_file_to_end=False), MemoryRelayFile()
    big = event(2, 60_000)
    head, lost, *others = (big[at : at + RECORD_BYTES] for at in range(0, len(big), RECORD_BYTES))
    scenario = scenario_with(file, log, counted=True)
    async with scenario.running():
        log.write(event(1, 10))
        await asyncio.sleep(1)
        file.content += event(1, 10) + big + event(3, 10)
        log.record(head)
        await asyncio.sleep(1 if head_is_delivered else 0)
        log.record(lost)
        log.rotate()
        for record in others:
            log.record(record)
        log.write(event(3, 10))
        await asyncio.sleep(1)
        assert scenario.sink.out == file.content
    assert scenario.report
    assert (scenario.report.complete, scenario.report.gaps, scenario.report.lines) == (True, (), 3)


@pytest.mark.parametrize("rotated_within_line", [True, False])
async def test_beginning_rotated_away_before_start_is_filled(rotated_within_line: bool) -> None:  # noqa: FBT001
    log = KubeletLog()
    first, big, last = event(1, 10), event(2, 40_000), event(3, 10)
    file = MemoryRelayFile(bytearray(first + big + last))
    log.write(first + big[:RECORD_BYTES] if rotated_within_line else first)
    log.rotate()
    log.write((big[RECORD_BYTES:] if rotated_within_line else big) + last)
    scenario = scenario_with(file, log, counted=True)
    async with scenario.running():
        await asyncio.sleep(3)
        assert scenario.sink.out == file.content
    assert scenario.report
    assert scenario.report.complete


@pytest.mark.parametrize("text", [b"thinking", b"never logged\n"])
async def test_file_that_stays_ahead_causes_at_most_one_reconnect(text: bytes) -> None:
    log, file = KubeletLog(), MemoryRelayFile(bytearray(b"one\n" + text))
    log.write(b"one\n")
    scenario = scenario_with(file, log)
    async with scenario.running():
        await asyncio.sleep(25)
        reconnects = [request for request in log.requests[1:] if request.follow]
        assert len(reconnects) == text.count(b"\n")
    assert scenario.report
    assert scenario.report.lines == 2  # "one", and from the file `text`


@given(
    st.lists(
        st.tuples(st.sampled_from([b"", b"a", b"b", b"longer", b'{"n":1}']), st.booleans(), st.booleans()),
        max_size=40,
    )
)
async def test_any_omitted_lines_are_filled_in_order(
    lines: list[tuple[bytes, bool, bool]],
) -> None:
    """A line is drawn as its text, whether the log has it, and whether a chunk ends after it."""
    file = MemoryRelayFile(bytearray(b"".join(text + b"\n" for text, _, _ in lines)))
    harness, chunk = DelivererHarness(file), []
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


async def test_file_with_another_line_before_each_line_is_compared_only_a_few_times() -> None:
    texts = [b"%d" % number for number in range(3000)]
    file = MemoryRelayFile(bytearray(b"".join(b"other\n" + text + b"\n" for text in texts)))
    harness = DelivererHarness(file)
    await harness.take(*texts)
    lines = bytes(harness.sink.out).splitlines()
    assert [line for line in lines if line != b"other"] == texts
    assert lines.count(b"other") == OMISSIONS_PER_BLOCK


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 40)), max_size=14))
async def test_file_behind_the_log_neither_repeats_nor_reorders_lines(
    lines: list[tuple[bool, bool, int]],
) -> None:
    """A line is drawn as: is it blank, does the log have it, how much of the file is then hidden?"""
    texts = [b"" if blank else b"%d" % number for number, (blank, _, _) in enumerate(lines)]
    file = MemoryRelayFile(bytearray(b"".join(text + b"\n" for text in texts)))
    harness, file.hidden = DelivererHarness(file), len(file.content)
    for text, (_, logged, hidden) in zip(texts, lines, strict=True):
        file.hidden = min(file.hidden, hidden)
        if logged:
            await harness.take(text)
    numbers = [int(text) for text in bytes(harness.sink.out).split()]
    assert numbers == sorted(set(numbers))


async def test_wrong_offset_after_a_blank_line_fills_nothing() -> None:
    file = MemoryRelayFile(bytearray(b"x1\n\nx2\n\nx3\n\nx4\n\n"), hidden=12)
    harness = DelivererHarness(file)
    for text in (b"x1", b"", b"x3", b""):
        await harness.take(text)
    file.hidden = 0
    await harness.take(b"x4")
    assert harness.sink.out == b"x1\n\nx3\n\nx4\n"
    assert asyncio.get_running_loop().time() == 0


async def test_long_lines_with_a_common_start_are_distinguished() -> None:
    one, other = b"x" * 70_000 + b"1", b"x" * 70_000 + b"2"
    file = MemoryRelayFile(bytearray(b"first\n" + one + b"\n" + other + b"\nlast\n"))
    harness = DelivererHarness(file)
    for text in (b"first", other, b"last"):
        await harness.take(text)
    assert harness.sink.out == file.content


async def test_line_longer_than_search_limit_is_delivered_without_filling() -> None:
    one, other = b"x" * SEARCH_BYTES + b"1", b"x" * SEARCH_BYTES + b"2"
    harness = DelivererHarness(MemoryRelayFile(bytearray(one + b"\n" + other + b"\n")))
    await harness.take(other)
    assert harness.sink.out == other + b"\n"


async def test_comparing_resumes_after_next_bookmark() -> None:
    texts = [b"line %03d" % number for number in range(60)]
    file = MemoryRelayFile(bytearray(b"".join(text + b"\n" for text in texts)), hidden=59 * 9)
    harness = DelivererHarness(file)
    await harness.take(texts[0])
    await harness.take(texts[5])
    file.hidden = 0
    await harness.take(texts[6])
    await harness.take(b"\x1e0badc0de b %d 7" % (7 * 9))
    assert [(gap.bytes, gap.lines) for gap in harness.sink.gaps()] == [(4 * 9, 4)]
    await harness.take(texts[50])
    assert harness.sink.out == b"".join(text + b"\n" for text in (texts[0], *texts[5:51]))


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"longer"]), st.booleans()), max_size=20), st.binary())
async def test_unrelated_file_removes_no_line_of_the_log(
    lines: list[tuple[bytes, bool]], content: bytes
) -> None:
    harness, chunk = DelivererHarness(MemoryRelayFile(bytearray(content))), []
    for text, cut in lines:
        chunk.append(text)
        if cut:
            await harness.take(*chunk)
            chunk = []
    await harness.take(*chunk)
    out = iter(bytes(harness.sink.out).splitlines())
    assert all(text in out for text, _ in lines)


async def test_file_behind_the_log_delays_no_line_and_fills_later() -> None:
    file = MemoryRelayFile(bytearray(b"one\n"))
    harness = DelivererHarness(file)
    began = asyncio.get_running_loop().time()
    await harness.take(b"one", b"two")
    await harness.take(b"three")
    assert asyncio.get_running_loop().time() == began
    file.content += b"two\nthree\nfour\nfive\n"
    await harness.take(b"five")
    assert harness.sink.out == file.content


async def test_differing_file_is_searched_for_the_first_line_only() -> None:
    file = MemoryRelayFile(bytearray(b"another program's\n" * 10))
    harness = DelivererHarness(file)
    for number in range(10):
        await harness.take(b"line %d" % number)
    assert harness.sink.out == b"".join(b"line %d\n" % number for number in range(10))
    assert asyncio.get_running_loop().time() < 5
    assert harness.sink.notices == []


async def test_hung_volume_delays_each_line_by_3_s_at_most() -> None:
    volume, loop = HangingRelayFile(), asyncio.get_running_loop()
    harness, waited = DelivererHarness(volume), []
    for number in range(150):
        began = loop.time()
        await harness.take(b"line %d" % number)
        waited.append(loop.time() - began)
        await asyncio.sleep(1)
    assert harness.sink.out.count(b"\n") == 150
    assert max(waited) <= COMPARE_TIMEOUT
    assert volume.reads == 3  # at second 0, and after each pause of `FAILURE_PAUSE`


class StallingRelayFile(MemoryRelayFile):
    """A file on a volume whose server stops responding after `reads_left` reads."""

    reads_left = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            await asyncio.Event().wait()
        return await super().read(start, stop)


@pytest.mark.parametrize("reads", range(1, 8))
async def test_volume_that_hangs_during_a_comparison_loses_no_line(reads: int) -> None:
    """`reads`: the number of reads after which the volume hangs."""
    texts = [b"line %03d" % number for number in range(100)]
    volume = StallingRelayFile(bytearray(b"".join(text + b"\n" for text in texts)))
    harness, volume.reads_left = DelivererHarness(volume), reads
    await harness.take(texts[0])
    await harness.take(*texts[50:])
    out = bytes(harness.sink.out).splitlines()
    assert out in (texts, [texts[0], *texts[50:]])
    assert asyncio.get_running_loop().time() <= READ_TIMEOUT


async def test_quiet_stream_with_file_is_checked_as_often_as_without() -> None:
    log, file = KubeletLog(), MemoryRelayFile(bytearray(b"one\n"))
    log.write(b"one\n")
    scenario = scenario_with(file, log)
    async with scenario.running():
        await asyncio.sleep(100)
        assert [round(request.at) for request in log.requests] == [0, 30, 90]  # the stream and two probes


async def test_file_ahead_for_a_moment_causes_no_reconnect() -> None:
    log, file = KubeletLog(), MemoryRelayFile()
    scenario = scenario_with(file, log)
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
    """A file on a volume that needs `delay` seconds for each read."""

    delay = 0.0
    reads = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.reads += 1
        await asyncio.sleep(self.delay)
        return await super().read(start, stop)


@pytest.mark.parametrize("delay", [0.3, 2.5])
async def test_slow_volume_is_not_read_for_every_line(delay: float) -> None:
    log, volume = KubeletLog(), SlowRelayFile()
    volume.delay = delay
    for number in range(600):
        volume.content += event(number, 10)
        log.write(event(number, 10), log.now() + number * NANO)
    log.terminate()
    report = await follow(log, RecordingSink(), SourceInfo(nonce=NONCE, relay_file=volume))
    assert report.lines == 600
    assert volume.reads == 3  # one comparison, and two reads of the uncounted end
    assert asyncio.get_running_loop().time() < 10  # a read for every line takes at least 180 s


async def test_long_rotated_beginning_is_filled_from_network_volume() -> None:
    log, volume = KubeletLog(), SlowRelayFile()
    volume.delay = 0.2
    volume.content += event(0, 1_000) * 5_000 + event(1, 10)
    log.write(event(1, 10))
    scenario = scenario_with(volume, log)
    async with scenario.running():
        await asyncio.sleep(30)
        assert scenario.sink.out == volume.content


async def test_deeply_nested_event_after_an_omission_is_delivered() -> None:
    deep = b'{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}"
    file = MemoryRelayFile(bytearray(b'{"n":1}\n{"n":2}\n' + deep + b"\n"))
    harness = DelivererHarness(file)
    for text in (b'{"n":1}', deep):
        await harness.take(text)
    assert harness.sink.out == file.content


async def test_container_end_during_hung_volume_read_is_noticed() -> None:
    log, volume = KubeletLog(), HangingRelayFile()
    log.faults = [Fault("hang", after_seconds=1)]
    scenario = scenario_with(volume, log)
    async with scenario.running():
        await asyncio.sleep(5.5)
        assert volume.reads == 1
    assert asyncio.get_running_loop().time() < 30


async def test_hung_volume_does_not_block_completion() -> None:
    log, sink, volume = KubeletLog(), RecordingSink(), HangingRelayFile()
    source_info = SourceInfo(nonce=NONCE, expected_totals=lambda: totals(b"one\ntwo\n"), relay_file=volume)
    log.write(b"one\n")
    log.terminate()
    report = await follow(log, sink, source_info)
    assert sink.out == b"one\n"
    assert [(gap.bytes, gap.lines) for gap in report.gaps] == [(4, 1)]
    assert asyncio.get_running_loop().time() < 60


# ── a file that other programs write to ──────────────────────────────────────────────────────────────────


async def test_foreign_text_appended_to_file_fills_no_gap() -> None:
    file = MemoryRelayFile(bytearray(event(1, 10) + b"garbage, and more of it\nand more\n"))
    harness = DelivererHarness(file)
    await harness.take(event(1, 10)[:-1])
    lost = event(2, 10) + event(3, 10)
    await harness.take(b"\x1e0badc0de b %d 3" % (len(event(1, 10)) + len(lost)))
    await harness.take(event(4, 10)[:-1])
    assert harness.sink.out == event(1, 10) + event(4, 10)
    assert [(gap.bytes, gap.lines) for gap in harness.sink.gaps()] == [(len(lost), 2)]


async def test_nul_bytes_in_file_fill_no_gap() -> None:
    texts = [event(number, 10) for number in range(6)]
    content = b"".join(texts)
    cut = len(b"".join(texts[:2])) + 3
    hole = bytes(len(b"".join(texts[:4])) - cut)
    harness = DelivererHarness(MemoryRelayFile(bytearray(content[:cut] + hole + content[cut + len(hole) :])))
    await harness.take(texts[0][:-1])
    await harness.take(*(text[:-1] for text in texts[4:]))
    assert harness.sink.out == texts[0] + texts[4] + texts[5]


async def test_file_shorter_than_delivered_output_fills_nothing() -> None:
    texts = [event(number, 10) for number in range(4)]
    harness = DelivererHarness(MemoryRelayFile(bytearray(texts[0][:5])))
    await harness.take(*(text[:-1] for text in texts))
    await harness.finish(None)
    assert harness.sink.out == b"".join(texts)


@pytest.mark.parametrize("tail", [b"garbage\n", b"garbage", bytes(50), b'{"torn": \n'])
async def test_uncounted_end_is_filled_up_to_first_foreign_line(tail: bytes) -> None:
    texts = [event(number, 10) for number in range(4)]
    harness = DelivererHarness(MemoryRelayFile(bytearray(b"".join(texts) + tail + texts[0])))
    await harness.take(texts[0][:-1])
    await harness.finish(None)
    assert harness.sink.out == b"".join(texts)
    assert await harness.why_unusable(None) == DIFFERS
    assert harness.deliverer.backfill is not None
    assert harness.deliverer.backfill.unproven == len(b"".join(texts[1:]))


async def test_truncated_last_event_is_filled() -> None:
    torn = event(2, 100)[:50]
    harness = DelivererHarness(MemoryRelayFile(bytearray(event(1, 10) + torn)))
    await harness.finish(None)
    assert harness.sink.out == event(1, 10) + torn
    assert await harness.why_unusable(None) is None


async def test_partly_copied_file_is_used_up_to_reported_size() -> None:
    texts = [event(number, 10) for number in range(6)]
    content, kept = b"".join(texts), len(b"".join(texts[:4]))
    harness = DelivererHarness(MemoryRelayFile(bytearray(content[:kept] + b"{garbage}\n")))
    counted = replace(totals(content), in_file=kept)
    await harness.take(texts[0][:-1])
    await harness.finish(counted)
    assert harness.sink.out == content[:kept]
    assert not harness.counts.matches(counted)
    assert await harness.why_unusable(counted) is None  # the relay has reported the short copy itself


async def report_on(
    content: bytes, file: MemoryRelayFile, kept: int | None
) -> tuple[str | None, list[FileUnusable]]:
    """What is reported about this file if the log itself is complete.

    `kept`: how many bytes the relay says it has copied to the file; None if it says nothing.
    """
    log, sink = KubeletLog(), RecordingSink()
    counted = replace(totals(content), in_file=kept)
    log.write(content)
    log.terminate()
    report = await follow(
        log, sink, SourceInfo(nonce=NONCE, expected_totals=lambda: counted, relay_file=file)
    )
    assert sink.out == content
    assert report.complete
    return report.file_trouble, [notice for notice in sink.notices if isinstance(notice, FileUnusable)]


@pytest.mark.parametrize("kind", ["whole", "cut", "empty", "other", "appended", "gone"])
async def test_unusable_file_is_reported_once_with_reason(kind: str) -> None:
    content = b"".join(event(number, 100) for number in range(20))
    file, reason = {
        "whole": (MemoryRelayFile(bytearray(content)), None),
        "cut": (MemoryRelayFile(bytearray(content[:-9])), TOO_SHORT),
        "empty": (MemoryRelayFile(), TOO_SHORT),
        "other": (MemoryRelayFile(bytearray(b"x" * len(content))), DIFFERS),
        "appended": (MemoryRelayFile(bytearray(content + b"garbage\n")), DIFFERS),
        "gone": (MemoryRelayFile(fails=True), "the volume is gone"),
    }[kind]
    trouble, notices = await report_on(content, file, len(content))
    assert trouble == reason
    assert notices == ([FileUnusable(reason)] if reason else [])


async def test_file_without_relay_report_causes_no_notice() -> None:
    assert await report_on(event(1, 10), MemoryRelayFile(fails=True), kept=None) == (None, [])


async def test_hung_volume_is_reported_with_reason() -> None:
    trouble, notices = await report_on(event(1, 10), HangingRelayFile(), len(event(1, 10)))
    assert (trouble, notices) == (LATE, [FileUnusable(LATE)])


class LateRelayFile(MemoryRelayFile):
    """A file that the relay creates a moment after the first line."""

    async def read(self, start: int, stop: int) -> bytes:
        if asyncio.get_running_loop().time() < 1:
            raise FileNotFoundError("not yet")
        return await super().read(start, stop)


async def test_file_created_late_is_used_from_then_on() -> None:
    texts = [event(number, 10) for number in range(9)]
    log, file = KubeletLog(), LateRelayFile(bytearray(b"".join(texts)))
    scenario = scenario_with(file, log, counted=True)
    async with scenario.running():
        for number, text in enumerate(texts):
            if number not in (4, 5):
                log.write(text)
            await asyncio.sleep(1)
    assert scenario.sink.out == file.content
    assert scenario.report
    assert (scenario.report.complete, scenario.report.file_trouble) == (True, None)
