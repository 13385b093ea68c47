"""A program that follows an agent's log while the agent replaces its run log, and prints what that costs.

    python -m tests.support.hostile_run_log ATTACK FOLDER

Prints a JSON object. `mib`: by how much memory grew at most. `lag`: the longest time (s) for which the event
loop did not run. `end`: the seconds from the container's end to the follower's end. `bytes`: how many bytes
the follower delivered.
"""

import asyncio
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.kubelet_log import KubeletLog
from tests.support.log_sinks import NONCE, RecordingSink

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog import Follower, SourceInfo, Totals
from paperclip_claude_k8s.volume.run_log_file import run_log_of

PATH = "run-logs/co/ada/r1.ndjson"
TERABYTE = 2**40
MIB = 2**20
LIMIT = 512 * MIB
"""The limit of the agent's output in bytes."""
ROUNDS = 20
"""Number of lines that the agent prints."""
MEMORY_LIMIT = 2048 * MIB
"""Bytes of address space of this program."""


def _sparse(size: int) -> Callable[[Path], None]:
    def attack(file: Path) -> None:
        file.touch()
        os.truncate(file, size)

    return attack


def _one_long_line(file: Path) -> None:
    with file.open("wb") as stream:
        for _ in range(200):
            stream.write(b"x" * MIB)


def _other_lines(file: Path) -> None:
    with file.open("wb") as stream:
        for _ in range(100):
            stream.write(b'{"other":1}\n' * (MIB // 12))


def _growing(file: Path) -> None:
    def grow() -> None:
        with file.open("ab") as stream:
            for _ in range(400):
                stream.write(b'{"n":0}\n' * 32768)
                stream.flush()
                time.sleep(0.01)  # noqa: TID251  # this thread plays the agent

    threading.Thread(target=grow, daemon=True).start()


def _after_true_lines(attack: Callable[[Path], object]) -> Callable[[Path], None]:
    """The attack, with a file that begins like the log: its rest then counts as lines that the log lacks."""

    def prepared(file: Path) -> None:
        attack(file)
        true_lines = b"".join(b'{"n":%d}\n' % number for number in range(ROUNDS))
        with file.open("rb+") as stream:
            stream.write(true_lines)

    return prepared


ATTACKS: dict[str, Callable[[Path], object]] = {
    "sparse terabyte": _sparse(TERABYTE),
    "zeros": _sparse(400 * MIB),
    "one long line": _one_long_line,
    "other lines": _other_lines,
    "growing": _growing,
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "truncated": _sparse(0),
    "missing": lambda _: None,
}
WITHOUT_FORGED_MARKS: dict[str, Callable[[Path], object]] = {
    f"{name} after true lines": _after_true_lines(ATTACKS[name])
    for name in ("sparse terabyte", "zeros", "one long line", "other lines")
}
"""Attacks that follow the true lines. The agent forges no mark, and the relay reports no counts."""


class _DiscardingSink(RecordingSink):
    """A sink that keeps nothing."""

    async def stdout(self, block: bytes) -> None:
        pass


async def main(attack: str, volume: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    file = volume / PATH
    file.parent.mkdir(parents=True)
    log, sink, lag = KubeletLog(), _DiscardingSink(), [0.0]
    ended = asyncio.get_running_loop().create_future()
    forged = None if attack in WITHOUT_FORGED_MARKS else Totals(bytes=TERABYTE, lines=1, in_file=TERABYTE)
    run_log = run_log_of(str(volume), PATH, limit=LIMIT)
    info = SourceInfo(NONCE, lambda: forged, relay_file=run_log)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(lag))
        following = group.create_task(Follower(log, sink, info).run(ended))
        await asyncio.to_thread((ATTACKS | WITHOUT_FORGED_MARKS)[attack], file)
        await _print_lines(log, forged)
        log.terminate()
        ended.set_result(None)
        began = loop_time()
        report = await following
        ticking.cancel()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    took = loop_time() - began
    print(json.dumps({"mib": grown, "lag": lag[0], "end": took, "bytes": report.bytes}))


async def _print_lines(log: KubeletLog, forged: Totals | None) -> None:
    for number in range(ROUNDS):
        log.write(b'{"n":%d}\n' % number)
        await asyncio.sleep(0.05)
        if forged:
            log.write(f"\x1e{NONCE} b {TERABYTE + number} 7\n".encode())
        await asyncio.sleep(0.05)


async def _tick(lag: list[float]) -> None:
    last = loop_time()
    while True:
        await asyncio.sleep(0.01)
        now = loop_time()
        lag[0], last = max(lag[0], now - last - 0.01), now


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
