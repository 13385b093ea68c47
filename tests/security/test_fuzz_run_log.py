"""Random changes of the run log and forged marks in the log, while an agent prints, lose or move no line."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.fuzzing import FUZZ
from tests.support.kubelet_log import KubeletLog
from tests.support.log_sinks import NONCE, MemoryRelayFile, RecordingSink

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog import Follower, SourceInfo, Totals
from paperclip_claude_k8s.podlog.file_reader import TOTAL_SECONDS

pytestmark = pytest.mark.looptime
LINES = [b'{"n":%d}\n' % number for number in range(12)]
PIECES = st.one_of(
    st.sampled_from(LINES),
    st.sampled_from([b"", b"\0" * 300, b"\n", b"{", b"x" * 5000, b'{"n":', f"\x1e{NONCE} b 9 1\n".encode()]),
    st.binary(max_size=40),
)
CONTENT = st.lists(PIECES, max_size=20).map(b"".join)
COUNTS = st.one_of(st.integers(0, 200), st.sampled_from([2**31, 2**40, 10**18]))
STEPS = st.one_of(
    st.tuples(st.just("replace"), CONTENT),
    st.tuples(st.just("append"), CONTENT),
    st.tuples(st.just("cut"), st.integers(0, 150)),
    st.tuples(st.just("fail_reads"), st.booleans()),
    st.tuples(st.just("print"), st.integers(1, 3)),
    st.tuples(st.just("forge_mark"), st.tuples(COUNTS, COUNTS)),
    st.tuples(st.just("rotate"), st.none()),
    st.tuples(st.just("wait"), st.floats(0, 8)),
)
TOTALS = st.one_of(
    st.none(),
    st.builds(Totals, COUNTS, COUNTS, st.sampled_from(["", "0" * 64]), st.one_of(st.none(), COUNTS)),
)


def is_subsequence(part: Iterable[bytes], whole: Iterable[bytes]) -> bool:
    remaining = iter(whole)
    return all(line in remaining for line in part)


class HostileAgent:
    """Prints `LINES`, and changes its run log. Its methods are the steps."""

    def __init__(self, content: bytes) -> None:
        self.log = KubeletLog()
        self.run_log = MemoryRelayFile(bytearray(content))
        self.printed: list[bytes] = []

    def replace(self, content: bytes) -> None:
        self.run_log.content[:] = content

    def append(self, content: bytes) -> None:
        self.run_log.content += content

    def cut(self, size: int) -> None:
        del self.run_log.content[size:]

    def fail_reads(self, fails: bool) -> None:  # noqa: FBT001
        self.run_log.fails = fails

    def print(self, count: int) -> None:
        new = LINES[len(self.printed) : len(self.printed) + count]
        self.log.write(b"".join(new))
        self.printed += new

    def forge_mark(self, counts: tuple[int, int]) -> None:
        self.log.write(f"\x1e{NONCE} b {counts[0]} {counts[1]}\n".encode())

    def rotate(self, _: None) -> None:
        self.log.rotate()


async def wait_for_printed(agent: HostileAgent, sink: RecordingSink, seconds: float = 60.0) -> None:
    """Wait until the follower has delivered all printed lines. A rotation removes unread lines."""
    deadline = loop_time() + seconds
    while not is_subsequence(agent.printed, lines_of(sink)) and loop_time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


def lines_of(sink: RecordingSink) -> list[bytes]:
    return bytes(sink.out).splitlines(keepends=True)


@FUZZ
@example(b'{"n":0}\n', [("wait", 4.5), ("print", 2), ("rotate", None)], None)
@given(CONTENT, st.lists(STEPS, max_size=25), TOTALS)
async def test_no_change_of_the_run_log_loses_or_moves_a_line_of_the_log(
    content: bytes, steps: list[tuple[str, Any]], totals: Totals | None
) -> None:
    agent, sink, ended = HostileAgent(content), RecordingSink(), asyncio.get_running_loop().create_future()
    follower = Follower(agent.log, sink, SourceInfo(NONCE, lambda: totals, relay_file=agent.run_log))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(ended))
        await asyncio.sleep(0.5)
        for kind, value in steps:
            if kind == "wait":
                await asyncio.sleep(value)
                continue
            if kind == "rotate":
                await wait_for_printed(agent, sink)
            getattr(agent, kind)(value)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        agent.log.terminate()
        await asyncio.sleep(0.05)
        ended_at = loop_time()
        ended.set_result(None)
    report = following.result()
    assert is_subsequence(agent.printed, lines_of(sink))
    filled = sum(notice.bytes for notice in sink.filled())
    assert len(sink.out) == report.bytes == sum(map(len, agent.printed)) + filled
    assert loop_time() - ended_at < TOTAL_SECONDS + 60
