"""A server with odd log lines causes few calls of the sink, and delays neither other tasks nor the run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.support.kubelet_log import KubeletLog, Refusal
from tests.support.log_sinks import NONCE, RecordingSink

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog import Follower, FollowTimings, LogReport, NotLogText, SourceInfo
from paperclip_claude_k8s.podlog.pipeline import MAX_UNSTAMPED

pytestmark = pytest.mark.looptime
STAMP = b"2026-01-01T00:00:00Z "


@dataclass(slots=True)
class OddLog:
    """A source whose every response is the same, and arrives at once."""

    response: bytes

    @asynccontextmanager
    async def open(self, **_: object) -> AsyncIterator["OneChunk"]:
        yield OneChunk(self.response)


@dataclass(slots=True)
class OneChunk:
    rest: bytes

    async def read(self) -> bytes:
        chunk, self.rest = self.rest, b""
        return chunk


async def follow(response: bytes, sink: RecordingSink) -> LogReport:
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    return await Follower(OddLog(response), sink, SourceInfo(nonce=NONCE)).run(ended)


async def test_thousands_of_texts_that_are_no_log_lines_are_reported_a_few_times() -> None:
    sink = RecordingSink()
    await follow(b"".join(b"odd %d\n" % number for number in range(10_000)), sink)
    texts = [notice.text for notice in sink.notices if isinstance(notice, NotLogText)]
    assert texts == [f"odd {number}" for number in range(MAX_UNSTAMPED)]


async def test_thousands_of_lines_of_stderr_are_delivered_in_one_call() -> None:
    calls = []

    class CallCounter(RecordingSink):
        async def stderr(self, block: bytes) -> None:
            calls.append(block)

    mark = STAMP + b"\x1e" + NONCE.encode()
    await follow(b"".join(mark + b" e %d\n" % number for number in range(5000)), CallCounter())
    assert calls == [b"".join(b"%d\n" % number for number in range(5000))]


async def test_other_tasks_run_while_lines_of_many_seconds_are_delivered() -> None:
    lines = [b"2026-01-01T%02d:%02d:%02dZ x\n" % (n // 3600, n // 60 % 60, n % 60) for n in range(5000)]
    sink = RecordingSink()

    async def lines_after_some_turns() -> int:
        for _ in range(30):
            await asyncio.sleep(0)
        return sink.out.count(b"\n")

    async with asyncio.TaskGroup() as group:
        other = group.create_task(lines_after_some_turns())
        report = await follow(b"".join(lines), sink)
    assert report.lines == 5000
    assert other.result() < 5000


async def test_server_that_asks_for_a_long_pause_does_not_delay_the_end_of_a_run() -> None:
    log, sink, ended = KubeletLog(), RecordingSink(), asyncio.get_running_loop().create_future()
    follower = Follower(log, sink, SourceInfo())
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(ended))
        log.write(b"one\n")
        await asyncio.sleep(1)
        log.faults = [Refusal(503, retry_after=3600.0)] * 100
        log.write(b"two\n")
        log.terminate()
        ended.set_result(None)
        ended_at = loop_time()
        report = await following
    assert loop_time() - ended_at < FollowTimings().completion_timeout + 2
    assert report.unread


@dataclass(slots=True)
class DrippingLog:
    """A source whose responses have one line, and then a piece of text from time to time, without end."""

    piece: bytes

    @asynccontextmanager
    async def open(self, **_: object) -> AsyncIterator["DrippingResponse"]:
        yield DrippingResponse(STAMP + b"line\n", self.piece)


@dataclass(slots=True)
class DrippingResponse:
    first: bytes
    piece: bytes

    async def read(self) -> bytes:
        first, self.first = self.first, b""
        if not first:
            await asyncio.sleep(0.5)
        return first or self.piece


@pytest.mark.parametrize("piece", [b"x", b"odd\n"])
async def test_server_that_drips_text_without_lines_does_not_delay_the_end_of_a_run(piece: bytes) -> None:
    ended, sink = asyncio.get_running_loop().create_future(), RecordingSink()
    asyncio.get_running_loop().call_later(10, ended.set_result, None)
    async with asyncio.timeout(1000):
        await Follower(DrippingLog(piece), sink, SourceInfo()).run(ended)
    assert sink.out == b"line\n"
    assert loop_time() < 10 + 3 * FollowTimings().stall_timeout


@dataclass(slots=True)
class EndlessLog:
    """A source whose responses each have new lines with a pause before each of them."""

    pause: float
    lines_per_response: int
    sent: int = 0
    requests: int = 0

    @asynccontextmanager
    async def open(self, **_: object) -> AsyncIterator["ResponseWithNewLines"]:
        self.requests += 1
        yield ResponseWithNewLines(self, self.lines_per_response)


@dataclass(slots=True)
class ResponseWithNewLines:
    log: EndlessLog
    lines_left: int
    repeated: bool = False

    async def read(self) -> bytes:
        before = b"" if self.repeated else self.lines(0, self.log.sent)
        self.repeated = True
        if self.lines_left == 0:
            return before
        self.lines_left -= 1
        await asyncio.sleep(self.log.pause)
        self.log.sent += 1
        return before + self.lines(self.log.sent - 1, self.log.sent)

    @staticmethod
    def lines(begin: int, end: int) -> bytes:
        return b"".join(STAMP + b"line %d\n" % number for number in range(begin, end))


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize(("pause", "per_response"), [(0.5, 10**9), (0.0, 1), (3.0, 2)])
async def test_server_that_sends_lines_without_end_does_not_delay_the_end_of_a_run(
    stopped: bool,  # noqa: FBT001
    pause: float,
    per_response: int,
) -> None:
    ended, sink = asyncio.get_running_loop().create_future(), RecordingSink()
    asyncio.get_running_loop().call_later(10, ended.set_result, None)
    log = EndlessLog(pause, per_response)
    follower = Follower(log, sink, SourceInfo())
    if stopped:
        follower.shorten_rest()
    async with asyncio.timeout(2000):
        report = await follower.run(ended)
    limit = FollowTimings().rest_cap_after_stop if stopped else FollowTimings().rest_timeout
    assert loop_time() - 10 < 2 * limit
    assert log.requests < 1000
    assert sink.out == b"".join(b"line %d\n" % number for number in range(report.lines))
    assert report.unread == "the server sends lines without end, long after the container has ended"
    assert report.complete is not True


async def test_log_of_an_agent_that_still_prints_is_read_only_to_its_current_end() -> None:
    """Without `goes_on` it would be read until two minutes are over, since each response has new lines."""
    ended, sink = asyncio.get_running_loop().create_future(), RecordingSink()
    ended.set_result(None)
    log = EndlessLog(0.1, 50)
    report = await Follower(log, sink, SourceInfo(goes_on=True)).run(ended)
    assert report.lines >= 50  # the first response
    assert log.requests <= 2  # and at most one more
    assert loop_time() < 15
    assert sink.out == b"".join(b"line %d\n" % number for number in range(report.lines))


async def test_large_log_is_read_to_its_end_although_that_takes_long() -> None:
    """At 128 KiB/s, its 37 MiB take longer than the limit for a server that sends almost nothing."""
    ended, sink = asyncio.get_running_loop().create_future(), RecordingSink()
    ended.set_result(None)
    block = (STAMP + b"x" * 1000 + b"\n") * 32

    class Blocks:
        blocks_left = 1200

        async def read(self) -> bytes:
            await asyncio.sleep(0.25)
            self.blocks_left -= 1
            return block if self.blocks_left >= 0 else b""

    class LargeLog:
        @asynccontextmanager
        async def open(self, **_: object) -> AsyncIterator[Blocks]:
            yield Blocks()

    report = await Follower(LargeLog(), sink, SourceInfo()).run(ended)
    assert report.lines == 1200 * 32
    assert not report.unread


async def test_very_long_line_is_read_to_its_end_and_reported_as_a_gap() -> None:
    """At 1 MiB/s, its 100 MiB take longer than a response may otherwise go without a complete line."""
    sink, ended = RecordingSink(), asyncio.get_running_loop().create_future()
    ended.set_result(None)

    class LongLine:
        reads_left = 400

        async def read(self) -> bytes:
            await asyncio.sleep(0.25)
            self.reads_left -= 1
            if self.reads_left == 399:
                return STAMP + b"x" * 1000
            return (
                b"x" * 256 * 1024
                if self.reads_left > 0
                else b"\n" + STAMP + b"last\n"
                if self.reads_left == 0
                else b""
            )

    class LongLineLog:
        @asynccontextmanager
        async def open(self, **_: object) -> AsyncIterator[LongLine]:
            yield LongLine()

    report = await Follower(LongLineLog(), sink, SourceInfo()).run(ended)
    assert sink.out == b"last\n"
    assert [gap.lines for gap in report.gaps] == [1]
