"""What the stream leaves out though nobody cut it: put in order from the relay's file, or left alone."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kubelet_log import NANO, Fault, KubeletLog, stamp
from tests.support.log_sinks import NONCE, Heard, HungVolume, RelayFile, Scene, follow, totals

from paperclip_claude_k8s.podlog import FileUnusable, FollowTimings, GapFilled, SourceInfo, Totals
from paperclip_claude_k8s.podlog.backfill import DIFFERS, LATE, LOOK, PATIENCE, PATTERN, TOO_SHORT, Backfill
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.log_lines import RECORD_BYTES, LineReader, Run

pytestmark = pytest.mark.looptime


class Desk:
    """A delivery with a file to mend from, without a stream."""

    def __init__(self, file: RelayFile) -> None:
        self.heard = Heard()
        self.delivery = Delivery(self.heard, SourceInfo(nonce=NONCE))
        self.backfill = self.delivery.restorer = Backfill(self.delivery, file)
        self._reader = LineReader()
        self._time = NANO

    async def take(self, *lines: bytes) -> None:
        """One chunk of the log."""
        self._time += NANO
        for run in self._reader.feed(b"".join(stamp(self._time) + line + b"\n" for line in lines)):
            assert isinstance(run, Run)
            await self.delivery.accept(run)


def event(number: int, size: int) -> bytes:
    """A JSON object of about so many bytes, which stays one when records are taken out of its middle."""
    return b'{"n":%d,"pad":"%s"}\n' % (number, (b"%d," % number * size)[:size])


def beside(file: RelayFile, log: KubeletLog, *, counted: bool = False) -> Scene:
    """A follower at work with the relay's file at hand; `counted`: the relay tells its totals at the end."""
    origin = SourceInfo(nonce=NONCE, filler=file)
    if counted:
        origin = replace(origin, expected=lambda: totals(bytes(file.content)))
    return Scene(log=log, origin=origin)


async def test_a_file_that_a_kubelet_leaves_out_of_a_stream_is_put_in_order() -> None:
    log, file = KubeletLog(sticks=True), RelayFile()
    scene = beside(file, log, counted=True)
    async with scene.running():
        for number in range(9):
            if number in (3, 6):
                log.rotate()
            text = f'{{"n": {number}}}\n'.encode()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        assert scene.heard.out == file.content
    assert scene.report
    assert (scene.report.complete, scene.report.gaps, scene.report.reconnects) == (True, (), 0)
    first, last = (log.files[0].records[-1].time, log.files[2].records[0].time)
    assert scene.heard.filled() == [GapFilled(first, last, 27, 3)]


async def test_a_stream_that_stays_at_an_old_file_is_noticed_by_the_relays_file() -> None:
    log, file = KubeletLog(sticks=True), RelayFile()
    scene = beside(file, log, counted=True)
    async with scene.running():
        for text in (b"one\n", b"two\n"):
            log.rotate()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        assert scene.heard.out == b"one\n"
        await asyncio.sleep(7)
        assert scene.heard.out == file.content
    assert scene.report
    assert scene.report.complete


async def test_a_long_line_that_did_not_come_is_noticed_as_soon() -> None:
    log, file = KubeletLog(sticks=True), RelayFile()
    scene = beside(file, log)
    async with scene.running():
        for text in (b"one\n", event(2, 300_000)):
            log.rotate()
            file.content += text
            log.write(text)
            await asyncio.sleep(1)
        await asyncio.sleep(7)
        assert scene.heard.out == file.content


@pytest.mark.parametrize("head_was_read", [True, False])
async def test_a_line_that_lost_records_at_a_rotation_comes_whole_from_the_file(head_was_read: bool) -> None:  # noqa: FBT001
    log, file = KubeletLog(drains=False), RelayFile()
    big = event(2, 60_000)
    head, lost, *others = (big[at : at + RECORD_BYTES] for at in range(0, len(big), RECORD_BYTES))
    scene = beside(file, log, counted=True)
    async with scene.running():
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
        assert scene.heard.out == file.content
    assert scene.report
    assert (scene.report.complete, scene.report.gaps, scene.report.lines) == (True, (), 3)


@pytest.mark.parametrize("torn", [True, False])
async def test_a_log_that_lost_its_beginning_before_it_was_followed_is_whole(torn: bool) -> None:  # noqa: FBT001
    log = KubeletLog()
    first, big, last = event(1, 10), event(2, 40_000), event(3, 10)
    file = RelayFile(bytearray(first + big + last))
    log.write(first + big[:RECORD_BYTES] if torn else first)
    log.rotate()
    log.write((big[RECORD_BYTES:] if torn else big) + last)
    scene = beside(file, log, counted=True)
    async with scene.running():
        await asyncio.sleep(3)
        assert scene.heard.out == file.content
    assert scene.report
    assert scene.report.complete


@pytest.mark.parametrize("text", [b"thinking", b"never logged\n"])
async def test_a_file_that_stays_ahead_causes_one_reconnect_at_most(text: bytes) -> None:
    log, file = KubeletLog(), RelayFile(bytearray(b"one\n" + text))
    log.write(b"one\n")
    scene = beside(file, log)
    async with scene.running():
        await asyncio.sleep(25)
        reconnects = [request for request in log.requests[1:] if request.follow]
        assert len(reconnects) == text.count(b"\n")
    assert scene.report
    assert scene.report.lines == text.count(b"\n") + 1 + (not text.endswith(b"\n"))


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
    file = RelayFile(bytearray(b"".join(text + b"\n" for text, _, _ in lines)))
    desk, chunk = Desk(file), []
    for text, logged, cut in lines:
        chunk += [text] if logged else []
        if cut and chunk:
            await desk.take(*chunk)
            chunk = []
    await desk.take(*chunk)
    await desk.backfill.finish(totals(bytes(file.content)))
    assert desk.heard.out == file.content
    assert desk.delivery.ledger.proves(totals(bytes(file.content)))
    assert desk.delivery.ledger.lines == len(lines)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 40)), max_size=14))
async def test_a_file_that_shows_late_repeats_no_line_and_turns_none_around(
    lines: list[tuple[bool, bool, int]],
) -> None:
    """Each line: whether it is blank, whether the log has it, and how much of the file is hidden then."""
    texts = [b"" if blank else b"%d" % number for number, (blank, _, _) in enumerate(lines)]
    file = RelayFile(bytearray(b"".join(text + b"\n" for text in texts)))
    desk, file.hidden = Desk(file), len(file.content)
    for text, (_, logged, hidden) in zip(texts, lines, strict=True):
        file.hidden = min(file.hidden, hidden)
        if logged:
            await desk.take(text)
    numbers = [int(text) for text in bytes(desk.heard.out).split()]
    assert numbers == sorted(set(numbers))


async def test_a_place_is_not_proven_by_a_blank_line() -> None:
    file = RelayFile(bytearray(b"x1\n\nx2\n\nx3\n\nx4\n\n"), hidden=12)
    desk = Desk(file)
    for text in (b"x1", b"", b"x3", b""):
        await desk.take(text)
    file.hidden = 0
    await desk.take(b"x4")
    assert desk.heard.out == b"x1\n\nx3\n\nx4\n"
    assert asyncio.get_running_loop().time() == 0


async def test_long_lines_that_begin_alike_are_told_apart() -> None:
    one, other = b"x" * 70_000 + b"1", b"x" * 70_000 + b"2"
    file = RelayFile(bytearray(b"first\n" + one + b"\n" + other + b"\nlast\n"))
    desk = Desk(file)
    for text in (b"first", other, b"last"):
        await desk.take(text)
    assert desk.heard.out == file.content


async def test_longer_lines_that_begin_alike_end_the_mending_and_nothing_else() -> None:
    one, other = b"x" * PATTERN + b"1", b"x" * PATTERN + b"2"
    desk = Desk(RelayFile(bytearray(one + b"\n" + other + b"\n")))
    await desk.take(other)
    assert desk.heard.out == other + b"\n"


async def test_mending_goes_on_once_the_relay_has_counted() -> None:
    texts = [b"line %03d" % number for number in range(60)]
    file = RelayFile(bytearray(b"".join(text + b"\n" for text in texts)), hidden=59 * 9)
    desk = Desk(file)
    await desk.take(texts[0])
    await desk.take(texts[5])
    file.hidden = 0
    await desk.take(texts[6])
    await desk.take(b"\x1e0badc0de b %d 7" % (7 * 9))
    assert [(gap.bytes, gap.lines) for gap in desk.heard.gaps()] == [(4 * 9, 4)]
    await desk.take(texts[50])
    assert desk.heard.out == b"".join(text + b"\n" for text in (texts[0], *texts[5:51]))


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"longer"]), st.booleans()), max_size=20), st.binary())
async def test_a_file_that_is_something_else_takes_no_line_of_the_log_away(
    lines: list[tuple[bytes, bool]], content: bytes
) -> None:
    desk, chunk = Desk(RelayFile(bytearray(content))), []
    for text, cut in lines:
        chunk.append(text)
        if cut:
            await desk.take(*chunk)
            chunk = []
    await desk.take(*chunk)
    out = iter(bytes(desk.heard.out).splitlines())
    assert all(text in out for text, _ in lines)


async def test_a_file_that_shows_late_is_not_waited_for() -> None:
    file = RelayFile(bytearray(b"one\n"))
    desk = Desk(file)
    began = asyncio.get_running_loop().time()
    await desk.take(b"one", b"two")
    await desk.take(b"three")
    assert asyncio.get_running_loop().time() == began
    file.content += b"two\nthree\nfour\nfive\n"
    await desk.take(b"five")
    assert desk.heard.out == file.content


async def test_a_file_that_differs_is_asked_once() -> None:
    file = RelayFile(bytearray(b"somebody else's\n" * 10))
    desk = Desk(file)
    for number in range(10):
        await desk.take(b"line %d" % number)
    assert desk.heard.out == b"".join(b"line %d\n" % number for number in range(10))
    assert asyncio.get_running_loop().time() < 5
    assert desk.heard.notices == []


async def test_a_volume_that_hangs_holds_no_line_up_for_long() -> None:
    volume, loop = HungVolume(), asyncio.get_running_loop()
    desk, waited = Desk(volume), []
    for number in range(150):
        began = loop.time()
        await desk.take(b"line %d" % number)
        waited.append(loop.time() - began)
        await asyncio.sleep(1)
    assert desk.heard.out.count(b"\n") == 150
    assert max(waited) <= LOOK
    assert volume.asked == 3


class FailingVolume(RelayFile):
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
    volume = FailingVolume(bytearray(b"".join(text + b"\n" for text in texts)))
    desk, volume.reads = Desk(volume), reads
    await desk.take(texts[0])
    await desk.take(*texts[50:])
    out = bytes(desk.heard.out).splitlines()
    assert out in (texts, [texts[0], *texts[50:]])
    assert asyncio.get_running_loop().time() <= PATIENCE


async def test_a_quiet_stream_is_read_once_more_after_as_long_as_without_a_file() -> None:
    log, file = KubeletLog(), RelayFile(bytearray(b"one\n"))
    log.write(b"one\n")
    scene = beside(file, log)
    async with scene.running():
        await asyncio.sleep(100)
        assert [round(request.at) for request in log.requests] == [0, 30, 90]


async def test_a_healthy_stream_is_not_opened_again_because_the_file_is_a_moment_ahead() -> None:
    log, file = KubeletLog(), RelayFile()
    scene = beside(file, log)
    async with scene.running():
        for number in range(10):
            file.content += event(number, 10)
            await asyncio.sleep(0.2)
            log.write(event(number, 10))
            await asyncio.sleep(FollowTimings().file_after - 0.1)
    assert scene.report
    assert scene.report.reconnects == 0
    assert scene.heard.notices == []


class SlowVolume(RelayFile):
    """One that takes its time for each read."""

    delay = 0.0
    asked = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.asked += 1
        await asyncio.sleep(self.delay)
        return await super().read(start, stop)


@pytest.mark.parametrize("delay", [0.3, 2.5])
async def test_a_slow_volume_is_asked_once_a_minute(delay: float) -> None:
    log, volume = KubeletLog(), SlowVolume()
    volume.delay = delay
    for number in range(600):
        volume.content += event(number, 10)
        log.write(event(number, 10), log.now() + number * NANO)
    log.terminate()
    report = await follow(log, Heard(), SourceInfo(nonce=NONCE, filler=volume))
    assert report.lines == 600
    assert volume.asked == 3  # one comparison, and two reads for the end that nobody counted
    assert asyncio.get_running_loop().time() < 10


async def test_a_long_beginning_that_was_rotated_away_is_filled_from_a_volume_of_usual_speed() -> None:
    log, volume = KubeletLog(), SlowVolume()
    volume.delay = 0.2
    volume.content += event(0, 1_000) * 5_000 + event(1, 10)
    log.write(event(1, 10))
    scene = beside(volume, log)
    async with scene.running():
        await asyncio.sleep(30)
        assert scene.heard.out == volume.content


async def test_a_deeply_nested_event_after_a_hole_is_an_event_like_others() -> None:
    deep = b'{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}"
    file = RelayFile(bytearray(b'{"n":1}\n{"n":2}\n' + deep + b"\n"))
    desk = Desk(file)
    for text in (b'{"n":1}', deep):
        await desk.take(text)
    assert desk.heard.out == file.content


async def test_an_end_during_a_look_at_a_hung_volume_is_noticed_at_once() -> None:
    log, volume = KubeletLog(), HungVolume()
    log.faults = [Fault("hang", after_seconds=1)]
    scene = beside(volume, log)
    async with scene.running():
        await asyncio.sleep(5.5)
        assert volume.asked == 1
    assert asyncio.get_running_loop().time() < 30


async def test_a_volume_that_hangs_ends_no_completion() -> None:
    log, heard, volume = KubeletLog(), Heard(), HungVolume()
    origin = SourceInfo(nonce=NONCE, expected=lambda: totals(b"one\ntwo\n"), filler=volume)
    log.write(b"one\n")
    log.terminate()
    report = await follow(log, heard, origin)
    assert heard.out == b"one\n"
    assert [(gap.bytes, gap.lines) for gap in report.gaps] == [(4, 1)]
    assert asyncio.get_running_loop().time() < 60


# ── a file that others write on ──────────────────────────────────────────────────────────────────


async def test_what_somebody_appended_fills_no_gap_that_the_relay_counted() -> None:
    file = RelayFile(bytearray(event(1, 10) + b"garbage, and more of it\nand more\n"))
    desk = Desk(file)
    await desk.take(event(1, 10)[:-1])
    lost = event(2, 10) + event(3, 10)
    await desk.take(b"\x1e0badc0de b %d 3" % (len(event(1, 10)) + len(lost)))
    await desk.take(event(4, 10)[:-1])
    assert desk.heard.out == event(1, 10) + event(4, 10)
    assert [(gap.bytes, gap.lines) for gap in desk.heard.gaps()] == [(len(lost), 2)]


async def test_a_hole_in_the_file_fills_no_gap() -> None:
    texts = [event(number, 10) for number in range(6)]
    content = b"".join(texts)
    cut = len(b"".join(texts[:2])) + 3
    hole = bytes(len(b"".join(texts[:4])) - cut)
    desk = Desk(RelayFile(bytearray(content[:cut] + hole + content[cut + len(hole) :])))
    await desk.take(texts[0][:-1])
    await desk.take(*(text[:-1] for text in texts[4:]))
    assert desk.heard.out == texts[0] + texts[4] + texts[5]


async def test_a_file_that_is_shorter_than_what_was_delivered_fills_nothing() -> None:
    texts = [event(number, 10) for number in range(4)]
    desk = Desk(RelayFile(bytearray(texts[0][:5])))
    await desk.take(*(text[:-1] for text in texts))
    await desk.backfill.finish(None)
    assert desk.heard.out == b"".join(texts)


@pytest.mark.parametrize("tail", [b"garbage\n", b"garbage", bytes(50), b'{"torn": \n'])
async def test_without_a_count_the_end_is_taken_up_to_what_cannot_be_the_agents(tail: bytes) -> None:
    texts = [event(number, 10) for number in range(4)]
    desk = Desk(RelayFile(bytearray(b"".join(texts) + tail + texts[0])))
    await desk.take(texts[0][:-1])
    await desk.backfill.finish(None)
    assert desk.heard.out == b"".join(texts)
    assert await desk.backfill.trouble(None) == DIFFERS


async def test_a_torn_last_line_is_the_agents() -> None:
    torn = event(2, 100)[:50]
    desk = Desk(RelayFile(bytearray(event(1, 10) + torn)))
    await desk.backfill.finish(None)
    assert desk.heard.out == event(1, 10) + torn
    assert await desk.backfill.trouble(None) is None


async def test_what_is_left_of_a_file_that_the_relay_gave_up_is_read_and_no_more() -> None:
    texts = [event(number, 10) for number in range(6)]
    content, kept = b"".join(texts), len(b"".join(texts[:4]))
    desk = Desk(RelayFile(bytearray(content[:kept] + b"{garbage}\n")))
    counted = replace(totals(content), kept=kept)
    await desk.take(texts[0][:-1])
    await desk.backfill.finish(counted)
    assert desk.heard.out == content[:kept]
    assert not desk.delivery.ledger.proves(counted)
    assert await desk.backfill.trouble(counted) is None  # the relay has told it


async def damaged(content: bytes, file: RelayFile, kept: int | None) -> tuple[str | None, list[FileUnusable]]:
    """What is said of this file beside a log that has everything."""
    log, heard = KubeletLog(), Heard()
    counted = Totals(len(content), content.count(b"\n"), totals(content).sha256, kept)
    log.write(content)
    log.terminate()
    report = await follow(log, heard, SourceInfo(nonce=NONCE, expected=lambda: counted, filler=file))
    assert heard.out == content
    assert report.complete
    return report.file_trouble, [notice for notice in heard.notices if isinstance(notice, FileUnusable)]


@pytest.mark.parametrize("kind", ["whole", "cut", "empty", "other", "appended", "gone"])
async def test_a_file_that_is_of_no_use_is_told_once_with_the_reason(kind: str) -> None:
    content = b"".join(event(number, 100) for number in range(20))
    file, reason = {
        "whole": (RelayFile(bytearray(content)), None),
        "cut": (RelayFile(bytearray(content[:-9])), TOO_SHORT),
        "empty": (RelayFile(), TOO_SHORT),
        "other": (RelayFile(bytearray(b"x" * len(content))), DIFFERS),
        "appended": (RelayFile(bytearray(content + b"garbage\n")), DIFFERS),
        "gone": (RelayFile(fails=True), "the volume is gone"),
    }[kind]
    trouble, told = await damaged(content, file, len(content))
    assert trouble == reason
    assert told == ([FileUnusable(reason)] if reason else [])


async def test_of_a_file_that_the_relay_does_not_speak_of_nothing_is_said() -> None:
    assert await damaged(event(1, 10), RelayFile(fails=True), None) == (None, [])


async def test_a_volume_that_hangs_is_told_with_the_reason() -> None:
    trouble, told = await damaged(event(1, 10), HungVolume(), len(event(1, 10)))
    assert (trouble, told) == (LATE, [FileUnusable(LATE)])


class LateFile(RelayFile):
    """One that the relay makes a moment after the first line."""

    async def read(self, start: int, stop: int) -> bytes:
        if asyncio.get_running_loop().time() < 1:
            raise FileNotFoundError("not yet")
        return await super().read(start, stop)


async def test_a_file_that_is_made_a_moment_later_is_used_from_then_on() -> None:
    texts = [event(number, 10) for number in range(9)]
    log, file = KubeletLog(), LateFile(bytearray(b"".join(texts)))
    scene = beside(file, log, counted=True)
    async with scene.running():
        for number, text in enumerate(texts):
            if number not in (4, 5):
                log.write(text)
            await asyncio.sleep(1)
    assert scene.heard.out == file.content
    assert scene.report
    assert (scene.report.complete, scene.report.file_trouble) == (True, None)
