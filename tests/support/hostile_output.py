"""Outputs that a hostile agent may print, and a program that passes them through the adapter.

    python -m tests.support.hostile_output [NAME ...]

Each output goes from a log with timestamps through the follower, the parser and the host's callback to the
result, as in a run. Each is measured in a process of its own, which is forked from this one. The program
prints one JSON object per output: `Measured`, or its name and `failed`.
"""

import asyncio
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.podlog import Follower, SourceInfo
from paperclip_claude_k8s.ports import NullJournal, utc_now
from paperclip_claude_k8s.run.agent_log import OutputSink
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

MB = 1_000_000
CHUNK = 128 * 1024
"""Largest number of bytes that aiohttp returns from one read of a response."""
NONCE = "0badc0de"
MAX_MEMORY_MB = 150 * 1024 * 1024 / MB
"""Largest peak of memory that an output may cause, in MB: 150 MiB."""
MAX_STEP_SECONDS = 0.5
"""Longest step in CPU seconds, which is the lag of the event loop on an idle machine."""
ADDRESS_SPACE = 4_000 * MB
"""Largest number of bytes of address space of a process that measures an output."""
TIME_LIMIT_SECONDS = 60
"""An output that takes longer than this is given up."""
Pieces = Iterable[bytes]
_INIT = b'{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'


def repeated(head: bytes, part: bytes, size: int, tail: bytes) -> Iterator[bytes]:
    """One line: `head`, then `part` until the line has about this size, then `tail`."""
    yield head
    count = max(1, CHUNK // len(part))
    for _ in range(size // (count * len(part))):
        yield part * count
    yield tail


def result_with(part: bytes, size: int, *, key: bytes = b"extra", end: bytes = b"0") -> Iterator[bytes]:
    """A successful result whose field `key` is a list with many equal items, and `end` as its last item."""
    head = b'{"type":"result","subtype":"success","is_error":false,"result":"ok","%b":[' % key
    return repeated(head, part, size, end + b'],"session_id":"s","total_cost_usd":0.5,"uuid":"u"}\n')


def lines(template: bytes, count: int, per_chunk: int = 1000) -> Iterator[bytes]:
    """Lines that differ by a number, which replaces `%d`; the template may contain several."""
    places = template.count(b"%d")
    for start in range(0, count, per_chunk):
        yield b"".join([template % ((n,) * places) for n in range(start, min(start + per_chunk, count))])


def several(count: int, make: Callable[[int], Pieces]) -> Iterator[bytes]:
    for number in range(count):
        yield from make(number)


def long_line(size: int, character: bytes = b"x", tail: bytes = b"") -> Iterator[bytes]:
    return repeated(b"", character, size, tail + b"\n")


def superseding(number: int) -> Iterator[bytes]:
    """A message that supersedes 200,000 others."""
    head = b'{"type":"assistant","message":{"id":"m%d","content":[]},"supersedes":["x' % number
    count = 200_000
    yield head
    for start in range(0, count, 5000):
        yield b"".join(b'","%d-%d' % (number, n) for n in range(start, start + 5000))
    yield b'"],"parent_tool_use_id":null,"uuid":"u","session_id":"s"}\n'


def fallback(number: int) -> Iterator[bytes]:
    """A change of the model, whose name is long."""
    head = b'{"type":"system","subtype":"model_fallback","trigger":"%d","original_model":"' % number
    return repeated(head, b"m", 3 * MB, b'","fallback_model":"n"}\n')


def per_model(count: int, key: bytes = b"modelUsage") -> Iterator[bytes]:
    """A result whose field `key` has an entry for each of many models."""
    yield b'{"type":"result","subtype":"success","is_error":false,"result":"ok","%b":{"m":{}' % key
    for start in range(0, count, 5000):
        yield b"".join(b',"m%d":{"inputTokens":1}' % n for n in range(start, start + 5000))
    yield b'},"session_id":"s","uuid":"u"}\n'


def sub_agents(count: int) -> Iterator[bytes]:
    """Messages of different sub-agents, and then tool results, each of which may end a sub-agent."""
    yield from lines(b'{"type":"assistant","parent_tool_use_id":"t%d","message":{"content":[]}}\n', count)
    yield from lines(b'{"type":"user","message":{"content":[{"tool_use_id":"x%d"}]}}\n', 5000)


def tasks_changed(count: int) -> Iterator[bytes]:
    yield b'{"type":"system","subtype":"background_tasks_changed","tasks":[{}'
    for start in range(0, count, 5000):
        yield b"".join(b',{"task_id":"t%d"}' % n for n in range(start, start + 5000))
    yield b"]}\n"


def texts(count: int) -> Iterator[bytes]:
    """Messages with many text blocks, all of which belong to the answer."""
    message = b'{"type":"assistant","message":{"id":"m","content":['
    for _ in range(count):
        yield from repeated(
            message, b'{"type":"text","text":"a"},', MB, b'{}]},"parent_tool_use_id":null,"uuid":"u"}\n'
        )


NORMAL = ("large tool results", "large answer", "large answer with emojis")
"""Outputs of runs that succeed."""
_IMAGE = b'{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"'


def _answer(size: int, text: bytes = b"answer, ") -> Iterator[bytes]:
    """A message and a result with the same text."""
    message = b'{"type":"assistant","message":{"id":"m","model":"m","content":[{"type":"text","text":"'
    yield from repeated(message, text, size, b'"}]},"parent_tool_use_id":null,"uuid":"u"}\n')
    head = b'{"type":"result","subtype":"success","is_error":false,"session_id":"s","result":"'
    yield from repeated(head, text, size, b'"}\n')


_MESSAGE = b'{"type":"assistant","message":{"id":"m%d","content":[{"type":"text","text":"a"}]},'

OUTPUTS: dict[str, Callable[[], Pieces]] = {  # name → makes the output, in pieces
    # large fields of single events
    "result of empty lists": lambda: result_with(b"[],", 30 * MB),
    "result of small objects": lambda: result_with(b'{"a":1},', 30 * MB),
    "many supersedes": lambda: several(8, superseding),
    "long names of models": lambda: several(10, fallback),
    "permission denials": lambda: result_with(
        b'{"tool_name":"Bash"},', 20 * MB, key=b"permission_denials", end=b"{}"
    ),
    "long errors": lambda: several(
        10,
        lambda _: repeated(
            b'{"type":"assistant","error":"', b"e", 3 * MB, b'","message":{"content":[]},"uuid":"u"}\n'
        ),
    ),
    # lists and objects just below and above the size that is parsed
    "4 MB of empty lists": lambda: several(3, lambda _: result_with(b"[],", 4 * MB)),
    "4 MB of objects": lambda: several(3, lambda _: result_with(b'{"a":1},', 4 * MB)),
    "1.9 MB of objects": lambda: several(3, lambda _: result_with(b'{"a":1},', 19 * MB // 10)),
    "0.7 MB of empty lists": lambda: several(3, lambda _: result_with(b"[],", 7 * MB // 10)),
    "1.9 MB of numbers": lambda: several(3, lambda _: result_with(b"1.5,", 19 * MB // 10)),
    "denials below the limit": lambda: several(
        3, lambda _: result_with(b'{"tool_name":"Bash"},', 4 * MB, key=b"permission_denials", end=b"{}")
    ),
    "1 MB of supersedes": lambda: several(
        3,
        lambda _: repeated(
            b'{"type":"assistant","message":{"content":[]},"uuid":"u","supersedes":[', b'"ab",', MB, b'""]}\n'
        ),
    ),
    "lone surrogate beside a list": lambda: several(
        3,
        lambda _: repeated(
            b'{"type":"result","is_error":false,"result":"\\ud800","x":[', b"1,", 2 * MB // 10, b"1]}\n"
        ),
    ),
    "4 MB of numbers": lambda: several(3, lambda _: result_with(b"1.5,", 4 * MB)),
    "1 MB of empty objects": lambda: several(5, lambda _: result_with(b"{},", MB)),
    "nested lists": lambda: several(20, lambda _: [b'{"type":"result","a":', b"[" * MB, b"]" * MB, b"}\n"]),
    "30 MB nested": lambda: [b'{"type":"result","a":', *[b"[" * MB] * 15, *[b"]" * MB] * 15, b"}\n"],
    "nested below the limit": lambda: lines(
        b'{"type":"result","a":' + b"[" * 900 + b"%d" + b"]" * 900 + b"}\n", 1000, 50
    ),
    "many keys": lambda: per_model(150_000, b"zzz"),
    "1 MB of structured output": lambda: [
        *result_with(b'{"a":{"b":[]}},', MB, key=b"structured_output", end=b"{}")
    ],
    # collections that grow over the run
    "message ids": lambda: [
        _INIT,
        *lines(_MESSAGE + b'"parent_tool_use_id":null,"uuid":"u%d","session_id":"s"}\n', 40_000),
    ],
    "tool ids": lambda: lines(
        b'{"type":"system","subtype":"task_started","task_id":"t%d","tool_use_id":"u%d"}\n', 150_000
    ),
    "long task ids": lambda: lines(
        b'{"type":"system","subtype":"task_started","task_id":"' + b"t" * 60_000 + b'%d"}\n', 500, 2
    ),
    "sub-agents": lambda: sub_agents(20_000),
    "background tasks": lambda: several(3, lambda _: tasks_changed(240_000)),
    "models": lambda: per_model(240_000),
    "result uuids": lambda: lines(b'{"type":"result","uuid":"u%d","total_cost_usd":1}\n', 150_000),
    "long result uuids": lambda: lines(
        b'{"type":"result","uuid":"' + b"u" * 60_000 + b'%d","total_cost_usd":1}\n', 1500, 2
    ),
    "api retries": lambda: lines(b'{"type":"system","subtype":"api_retry","attempt":%d}\n', 100_000),
    "rate limits": lambda: several(
        5,
        lambda _: repeated(b'{"type":"rate_limit_event","rate_limit_info":{"a":[', b"1,", 2 * MB, b"1]}}\n"),
    ),
    "text blocks": lambda: texts(10),
    # long and odd lines
    "long plain line": lambda: long_line(31 * MB),
    "long plain line with an emoji": lambda: long_line(31 * MB, tail="\U0001f600".encode()),
    "long lines": lambda: several(2, lambda _: long_line(31 * MB, tail="\U0001f600".encode())),
    "line above the limit": lambda: long_line(100 * MB),
    "no newline": lambda: [*long_line(31 * MB)][:-1],
    "long answer": lambda: repeated(
        b'{"type":"result","is_error":false,"result":"', b"answer ", 30 * MB, b'","total_cost_usd":0.5}\n'
    ),
    "long answer of escapes": lambda: repeated(
        b'{"type":"result","is_error":false,"result":"', b"\\ud83d\\ude00", 30 * MB, b'"}\n'
    ),
    "lone surrogates": lambda: repeated(
        b'{"type":"result","is_error":false,"result":"', b"\\ud800x", 20 * MB, b'"}\n'
    ),
    "long key": lambda: repeated(b'{"type":"result","', b"k", 3 * MB, b'":1}\n'),
    "huge integers": lambda: result_with(b"9" * 4000 + b",", 3 * MB),
    "huge integer": lambda: [b'{"type":"result","total_cost_usd":1', *[b"0" * 10_000] * 300, b"}\n"],
    "byte order marks": lambda: long_line(MB, b"\xef\xbb\xbf", b"{}"),
    "1 MB of control characters": lambda: several(3, lambda _: long_line(MB, b"\0", b"{")),
    "control sequences": lambda: long_line(20 * MB, b'\x1b]8;;{"', b"}"),
    "unended control sequences": lambda: several(
        4, lambda _: repeated(b'{"type"', b"\x1b]a", 4 * MB, b"}\n")
    ),
    "events beside text": lambda: long_line(
        20 * MB, b'x {"type":"result","uuid":"u","session_id":"s"}', b"}"
    ),
    "events without newline": lambda: long_line(20 * MB, b'{"type":"result","uuid":"u","session_id":"s"}'),
    "objects without newline": lambda: long_line(8 * MB, b'{"a":[]}', b'{"session_id":"s","uuid":"u"}'),
    "empty lines": lambda: [b"\n" * 5000] * 100,
    "tiny events": lambda: [b'{"type":"a"}\n' * 10_000] * 20,
    "NUL characters": lambda: long_line(30 * MB, b"\0"),
    # ordinary runs with large lines
    "large tool results": lambda: [
        _INIT,
        *several(3, lambda _: repeated(_IMAGE, b"iVBORw0KGgo", 20 * MB, b'"}]}}\n')),
        *_answer(MB),
    ],
    "large answer": lambda: [_INIT, *_answer(3_500_000)],
    "large answer with emojis": lambda: [_INIT, *_answer(3_500_000, "\U0001f600 and text ".encode())],
    # stderr and marks of the relay
    "long stderr line": lambda: [b"\x1e" + NONCE.encode() + b" e ", *long_line(31 * MB)],
    "stderr lines": lambda: lines(b"\x1e" + NONCE.encode() + b" e line %d\n", 40_000),
    "bookmarks": lambda: lines(b"\x1e" + NONCE.encode() + b" b %d %d\n", 20_000),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one output cost."""

    name: str
    peak_mb: float
    """Peak memory above that of the idle process, in MB of 10**6 bytes."""
    slowest_step: float
    """CPU seconds of the longest step in which nothing else could run."""
    seconds: float
    result_mb: float
    """Size of the result as JSON."""
    result: dict[str, Any]
    """The result, with long texts cut."""


class OutputLog:
    """A log with one output, to which it adds timestamps as the kubelet does."""

    def __init__(self, pieces: Pieces, ended: "asyncio.Future[None]") -> None:
        self._chunks = self._stamped(pieces)
        self._ended = ended

    @asynccontextmanager
    async def open(
        self, *, since: int | None, follow: bool, tail: int | None = None
    ) -> AsyncIterator["OutputLog"]:
        del since, follow, tail
        yield self

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        chunk = next(self._chunks, b"")
        if not chunk and not self._ended.done():
            self._ended.set_result(None)
        return chunk

    @staticmethod
    def _stamped(pieces: Pieces) -> Iterator[bytes]:
        at_start, number = True, 0
        for piece in pieces:
            for at in range(0, len(piece), CHUNK):
                number += 1
                stamp = b"2026-01-01T%02d:%02d:%02d.123456789Z " % (
                    number // 36_000 % 24,
                    number // 600 % 60,
                    number // 10 % 60,
                )
                part = piece[at : at + CHUNK]
                body = part[:-1].replace(b"\n", b"\n" + stamp) + part[-1:]
                yield stamp + body if at_start else body
                at_start = part.endswith(b"\n")


class StepTimer:
    """Measures the CPU time of the longest step of an event loop."""

    def __init__(self) -> None:
        self.slowest = 0.0

    async def run(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self.slowest = max(self.slowest, time.thread_time() - began)


async def run_output(pieces: Pieces) -> tuple[dict[str, Any], float]:
    """The result of a run with this output, and the CPU seconds of the slowest step."""
    timer = StepTimer()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(timer.run())
        result = await _result_of(pieces)
        await asyncio.sleep(0)
        task.cancel()
    return result, timer.slowest


async def _result_of(pieces: Pieces) -> dict[str, Any]:
    async def on_log(_stream: str, _text: str) -> None: ...

    ended = asyncio.get_running_loop().create_future()
    ctx = ExecutionContext.model_validate({"runId": "r", "agent": {"id": "a"}, "onLog": on_log})
    sink = OutputSink(Narrator(ctx), NullJournal(), StreamReader())
    log = await Follower(OutputLog(pieces, ended), sink, SourceInfo(nonce=NONCE)).run(ended)
    await asyncio.sleep(0)
    end = Exited(Terminated(0, "Completed", "", None))
    observation = Observation(end, sink.reader.finish(), log, None, RunFacts("job", "namespace"))
    failure = classify_end(observation, OutcomeInputs(utc_now()))
    return build_result(failure, observation, ResultInputs(utc_now())).to_wire()


def memory(field: str) -> float:
    """A field of /proc/self/status in MB, such as `VmRSS`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) * 1024 / MB


def measure(name: str) -> Measured:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    idle, began = memory("VmRSS"), time.monotonic()
    result, slowest = asyncio.run(run_output(OUTPUTS[name]()))
    peak = memory("VmHWM")
    return Measured(
        name=name,
        peak_mb=round(peak - idle, 1),
        slowest_step=round(slowest, 3),
        seconds=round(time.monotonic() - began, 2),
        result_mb=round(len(strict_json(result)) / MB, 2),
        result=json.loads(json.dumps(_cut(result))),
    )


def _cut(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        return value[:200]
    if isinstance(value, dict) and depth < 4:
        return {str(key)[:80]: _cut(inner, depth + 1) for key, inner in list(value.items())[:40]}
    return value if isinstance(value, (int, float, type(None))) else "..."


def main(names: list[str]) -> int:
    # the first run in a process takes memory, which must not count for an output
    asyncio.run(run_output([_INIT, b'{"type":"result","subtype":"success","result":"ok"}\n']))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for name in names or OUTPUTS:
        if os.fork() == 0:
            signal.alarm(TIME_LIMIT_SECONDS)
            try:
                print(json.dumps(asdict(measure(name))), flush=True)
            except Exception:  # noqa: BLE001  # the forked process must not continue the loop
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if os.wait()[1]:
            print(json.dumps({"name": name, "failed": True}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
