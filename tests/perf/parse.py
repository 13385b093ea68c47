"""Measures the event reader against a bare `orjson.loads` per line, in MB/s.

    python tests/perf/parse.py [FILE] [MB]

FILE is a captured stdout, which is repeated up to MB megabytes. Without FILE, a synthetic run is repeated
that resembles long runs: mostly messages and tool results, and the event `result` at the end. Also prints the
peak memory after MB megabytes and after five times as much.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from paperclip_claude_k8s.claude import StreamReader

CHUNK = 256 * 1024


def synthetic_run() -> bytes:
    """Return about 2 MB of output: 1,000 turns, each of a message, a tool call and its result."""

    def line(kind: str, content: dict[str, object], turn: int) -> bytes:
        message = {"id": f"msg_{turn}", "model": "m", "role": kind, "content": [content], "stop_reason": None}
        event = {
            "type": kind,
            "message": message,
            "parent_tool_use_id": None,
            "session_id": "s",
            "uuid": f"{turn}{kind}",
        }
        return json.dumps(event, separators=(",", ":")).encode() + b"\n"

    init = b'{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
    turns = [
        line("assistant", {"type": "text", "text": "I look at the next file. " * 8}, turn)
        + line(
            "assistant",
            {"type": "tool_use", "id": f"t{turn}", "name": "Read", "input": {"file": "a.py"}},
            turn,
        )
        + line(
            "user",
            {"type": "tool_result", "tool_use_id": f"t{turn}", "content": "def f(x):\n    return x\n" * 40},
            turn,
        )
        for turn in range(1000)
    ]
    return init + b"".join(turns) + b'{"type":"result","subtype":"success","is_error":false,"result":"ok"}\n'


def chunks(block: bytes, megabytes: int) -> Iterator[bytes]:
    """Repeat the block up to so many megabytes, in chunks."""
    for _ in range(max(1, megabytes * 1_000_000 // len(block))):
        for at in range(0, len(block), CHUNK):
            yield block[at : at + CHUNK]


def bare_loop(block: bytes, megabytes: int) -> None:
    rest = b""
    for chunk in chunks(block, megabytes):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            orjson.loads(line)


def read_events(block: bytes, megabytes: int) -> None:
    reader = StreamReader()
    for chunk in chunks(block, megabytes):
        reader.feed(chunk)
    reader.finish()


def speed(work: Callable[[bytes, int], None], block: bytes, megabytes: int) -> float:
    """Return the best speed of three measurements, in MB/s."""
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        work(block, megabytes)
        size = max(1, megabytes * 1_000_000 // len(block)) * len(block)
        best = max(best, size / 1e6 / (time.perf_counter() - began))
    return best


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    files = [word for word in sys.argv[1:] if not word.isdigit()]
    megabytes = int(next((word for word in sys.argv[1:] if word.isdigit()), "200"))
    block = Path(files[0]).read_bytes() if files else synthetic_run()
    bare_speed, reader_speed = speed(bare_loop, block, megabytes), speed(read_events, block, megabytes)
    print(f"bare orjson.loads per line: {bare_speed:6.0f} MB/s")
    print(f"StreamReader:               {reader_speed:6.0f} MB/s   ratio {reader_speed / bare_speed:.2f}")
    for size in (megabytes, 5 * megabytes):
        read_events(block, size)
        print(f"peak memory after {size} MB: {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
