"""A delivery that is cancelled and taken up again from the cursor: nothing is lost or told twice."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from tests.support.kubelet_log import KubeletLog
from tests.support.log_sinks import NONCE, RelayFile, totals

from paperclip_claude_k8s.podlog import Cursor, Follower, LogReport, Notice, SourceInfo

pytestmark = pytest.mark.looptime
MARK = b"\x1e" + NONCE.encode() + b" "
STDOUT = (b"one\ntwo\n", b"three\n", b"four\nfive\nsix\n", b"seven\n")
STDERR = (b"first\n", b"second\n", b"third\n")
ONE_RUN = STDOUT[0] + MARK + b"e first\n" + STDOUT[1] + MARK + b"e second\n" + MARK + b"b 14 3\n" + STDOUT[2]
"""Everything of one second: stdout, marked lines of stderr and a bookmark between."""
ANOTHER = MARK + b"e third\n" + STDOUT[3] + MARK + b"b 34 7\n"
CALLS = range(7)
"""Of the sink for all of that: one for each piece between two marks, and one for each line of stderr."""


@dataclass(slots=True)
class Hanging:
    """Takes whole calls; one of them never returns, and takes nothing."""

    hangs_at: int | None = None
    hung: asyncio.Event = field(default_factory=asyncio.Event)
    out: bytes = b""
    err: bytes = b""
    calls: int = 0

    async def stdout(self, block: bytes) -> None:
        await self._step()
        self.out += block

    async def stderr(self, block: bytes) -> None:
        await self._step()
        self.err += block

    async def notice(self, notice: Notice) -> None:
        """Reconnecting is told, and is nothing here."""

    async def _step(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.hangs_at:
            self.hung.set()
            await asyncio.Event().wait()


def a_log(file: RelayFile | None = None) -> tuple[KubeletLog, SourceInfo]:
    log, whole = KubeletLog(), b"".join(STDOUT)
    log.write(ONE_RUN)
    log.write(ANOTHER)
    return log, SourceInfo(nonce=NONCE, expected=lambda: totals(whole), filler=file)


async def cut_at(call: int, log: KubeletLog, origin: SourceInfo, sink: Hanging) -> Cursor:
    """Follow until the sink hangs in that call, and cancel it there; where the delivery stands then."""
    sink.hangs_at = call
    follower = Follower(log, sink, origin)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(asyncio.get_running_loop().create_future()))
        await sink.hung.wait()
        following.cancel()
    return follower.cursor


async def go_on(log: KubeletLog, origin: SourceInfo, cursor: Cursor, sink: Hanging) -> LogReport:
    log.terminate()
    sink.hangs_at = None
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    stored = Cursor.from_json(json.loads(json.dumps(cursor.to_json())))
    again = SourceInfo(nonce=NONCE, expected=origin.expected, filler=origin.filler, cursor=stored)
    return await Follower(log, sink, again).run(ended)


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("call", CALLS)
async def test_whoever_goes_on_after_a_cancelled_delivery_tells_the_rest_and_nothing_twice(
    call: int,
    file: bool,  # noqa: FBT001
) -> None:
    log, origin = a_log(RelayFile(bytearray(b"".join(STDOUT))) if file else None)
    sink = Hanging()
    cursor = await cut_at(call, log, origin, sink)
    assert cursor.bytes == len(sink.out), "the cursor claims what was handed on, and nothing else"
    assert cursor.lines == sink.out.count(b"\n")
    report = await go_on(log, origin, cursor, sink)
    assert (sink.out, sink.err) == (b"".join(STDOUT), b"".join(STDERR))
    assert (report.complete, report.bytes, report.gaps) == (True, len(b"".join(STDOUT)), ())


async def test_a_delivery_is_cut_at_each_of_its_calls() -> None:
    log, origin = a_log()
    sink = Hanging()
    log.terminate()
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    await Follower(log, sink, origin).run(ended)
    assert sink.calls == len(CALLS)
