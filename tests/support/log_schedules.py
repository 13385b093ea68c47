"""Random schedules of writes and faults, each derived from a seed, and the lines that a follower loses."""

# ruff: noqa: S311 - random test data, not secrets

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Literal

from tests.support.kubelet_log import NANO, RECORD_BYTES, Fault, KubeletLog, Refusal
from tests.support.log_sinks import NONCE, MemoryRelayFile, RecordingSink, totals

from paperclip_claude_k8s.podlog import Follower, Gap, LogReport, SourceInfo, Totals

BOOKMARK_EVERY = 20.0
"""Seconds without output between two bookmarks of the relay."""
FAULT_KINDS: tuple[Literal["eof", "broken", "hang", "error_text"], ...] = (
    "eof",
    "broken",
    "hang",
    "error_text",
)
ODD_LINES = (  # a careless reader would change, split or drop these
    b"",
    b"\r",
    b"\0\0",
    "\u2028\u0085\ufeff".encode(),
    b"\xff\xfe",
    b"\x1e",
    b"{",
    b'"}',
    "é漢🙂".encode() * 50,
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The kind of log and faults that a seed stands for. `KubeletLog` describes the other fields."""

    seed: int
    has_relay: bool
    """A relay marks its lines, counts stdout, and copies it to a file."""
    relay_file_readable: bool
    """The follower can read the relay's file."""
    rotates: bool
    """The log is rotated."""
    reads_rotated_file_to_end: bool
    inner_stamps: bool
    equal_lines: bool
    """Some lines have equal text and time."""
    clock_steps: bool
    """The node's clock is set forward and back."""
    restarts: bool
    """The container restarts once."""
    mixed_stderr: bool
    """stderr is stored between stdout lines, slightly out of order."""
    zone: int
    stays_at_rotated_file: bool

    @classmethod
    def of(cls, seed: int) -> "Schedule":
        rng = random.Random(seed)
        relay = rng.random() < 0.5
        rotates = rng.random() < 0.5
        inner = rng.random() < 0.4
        return cls(
            seed,
            has_relay=relay,
            relay_file_readable=relay and rng.random() < 0.5,
            rotates=rotates,
            reads_rotated_file_to_end=not relay or rng.random() < 0.7,
            inner_stamps=inner,
            equal_lines=not rotates and rng.random() < 0.7,
            clock_steps=not inner and rng.random() < 0.2,
            restarts=rotates and rng.random() < 0.1,
            mixed_stderr=not relay and not rotates and rng.random() < 0.5,
            zone=rng.choice((0, 0, 180, -570)),
            stays_at_rotated_file=relay and rotates and rng.random() < 0.3,
        )


@dataclass(slots=True)
class WrittenLine:
    """A line that the container wrote."""

    text: bytes
    time: int
    files: set[int] = field(default_factory=set)
    """Indexes of the log files that contain its records."""


class Writer:
    """Writes the log that a schedule describes, in place of agent, relay and runtime."""

    def __init__(self, schedule: Schedule, sink: RecordingSink) -> None:
        self.schedule = schedule
        self._sink = sink
        self.rng = random.Random(schedule.seed + 1)
        self.log = KubeletLog(
            inner_stamps=schedule.inner_stamps,
            reads_rotated_file_to_end=schedule.reads_rotated_file_to_end,
            stays_at_rotated_file=schedule.stays_at_rotated_file,
            zone=schedule.zone,
            rng=random.Random(schedule.seed + 2),
        )
        self.log.faults = [self._fault() for _ in range(self.rng.randrange(12))]
        self.lines: list[WrittenLine] = []
        self.stdout = MemoryRelayFile()
        """All stdout until now, as the relay copies it to its file."""
        self.stderr = bytearray()
        self.ends_without_faults = True
        """Whether all faults had happened before the container's end, so that later connections have none."""
        self._count = 0
        self._quiet = 0.0
        """Seconds since the last output or bookmark."""
        self._restarted = False

    def _fault(self) -> Fault | Refusal | None:
        rng = self.rng
        match rng.randrange(8):
            case 0:
                return Refusal(
                    status=rng.choice((0, 400, 429, 500, 503)), retry_after=rng.choice((None, 1.0))
                )
            case 1 | 2 | 3 | 4:
                return Fault(
                    rng.choice(FAULT_KINDS),
                    after_bytes=rng.choice((0, 10, 500, rng.randrange(20000), rng.randrange(400000))),
                )
            case 5:
                return Fault(
                    rng.choice(FAULT_KINDS), after_seconds=rng.choice((0.01, 1.0, 20.0, rng.random() * 100))
                )
            case _:
                return None

    async def run(self) -> None:
        for _ in range(self.rng.randrange(1, 25)):
            await self._step()
        if self.rng.random() < 0.3:
            self._last_line_without_newline()
        self.ends_without_faults = not self.log.faults
        del self.log.faults[2:]  # more would outlast the completion timeout
        self.log.terminate()

    async def _step(self) -> None:
        match self.rng.randrange(11):
            case 0 | 1 | 2:
                self._write_line(self._text())
            case 3:
                for _ in range(self.rng.choice((5, 50, 300))):
                    self._write_line(self._text())
            case 4:
                await self._long_line()
            case 5 | 6 | 7:
                await self._wait(self.rng.choice((0.001, 0.1, 0.7, 1.5, 4.0)))
            case 8:
                await self._wait(self.rng.choice((10.0, 40.0, 130.0)))
            case 9:
                self._rotate_or_restart()
            case _:
                self._set_clock_or_write_stderr()

    def _text(self) -> bytes:
        self._count += 1
        if self.schedule.equal_lines and self.rng.random() < 0.4:
            return b'{"same":true}'
        if not self.schedule.rotates and self.rng.random() < 0.3:
            return self.rng.choice(ODD_LINES) + (b"" if self.schedule.equal_lines else b"%d" % self._count)
        pad = "x" * self.rng.choice((0, 30, 200, 2000))
        return json.dumps({"n": self._count, "pad": pad}).encode()

    def _write_line(self, text: bytes, end: bytes = b"\n") -> None:
        self.log.write(text + end)
        self._remember(text + end, self.log.now())

    def _remember(self, line: bytes, time: int) -> None:
        newest_file = len(self.log.files) - 1
        self.lines.append(WrittenLine(line, time, {newest_file}))
        self.stdout.content += line
        self._quiet = 0.0

    async def _long_line(self) -> None:
        """Write a line of several records, possibly over several seconds and into two files."""
        size = self.rng.choice((RECORD_BYTES, RECORD_BYTES + 1, 20_000, 3 * RECORD_BYTES, 100_000))
        self._count += 1
        text = json.dumps({"n": self._count, "pad": f"{self._count}," * (size // 3)}).encode() + b"\n"
        slow = self.schedule.reads_rotated_file_to_end and self.rng.random() < 0.5
        # whether the follower can get records from a file that was rotated in the middle of the line
        repairable = self.schedule.relay_file_readable or (
            self.schedule.reads_rotated_file_to_end and not self.schedule.stays_at_rotated_file
        )
        rotate = self._may_rotate() and repairable and self.rng.random() < 0.4
        time, files = self.log.now(), set()
        self.stdout.content += text
        for at in range(0, len(text), RECORD_BYTES):
            self.log.record(text[at : at + RECORD_BYTES])
            files.add(len(self.log.files) - 1)
            if rotate and at == RECORD_BYTES:  # after the second record
                self.log.rotate()
            if slow:
                await asyncio.sleep(self.rng.choice((0.0, 0.3, 1.2, 3.0)))
        self.lines.append(WrittenLine(text, time, files))
        self._quiet = 0.0

    async def _wait(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, BOOKMARK_EVERY - self._quiet) if self.schedule.has_relay else seconds
            await asyncio.sleep(step)
            seconds -= step
            self._quiet += step
            if self.schedule.has_relay and self._quiet >= BOOKMARK_EVERY:
                self._mark(b"b %d %d" % (len(self.stdout.content), self.stdout.content.count(b"\n")))
                self._quiet = 0.0

    def _mark(self, text: bytes) -> None:
        self.log.write(b"\x1e" + NONCE.encode() + b" " + text + b"\n")

    def _rotate_or_restart(self) -> None:
        if self.schedule.restarts and self._may_rotate() and not self._restarted:
            self._restarted = True
            self.log.restart()
        elif self._may_rotate():
            self.log.rotate()

    def _may_rotate(self) -> bool:
        """Whether to rotate the log: without the relay's file, an early loss cannot be detected."""
        return self.schedule.rotates and (self.schedule.relay_file_readable or len(self._sink.out) > 0)

    def _set_clock_or_write_stderr(self) -> None:
        if self.schedule.clock_steps and self._may_set_clock():
            self.log.clock_offset += self.rng.choice((-3600, -90, -3, 5, 1800)) * NANO
        elif self.schedule.has_relay:
            self.stderr += b"warning %d\n" % self._count
            self._mark(b"e warning %d" % self._count)
        elif self.schedule.mixed_stderr:
            text = b"stderr %d\n" % self._count
            time = self.log.now() - self.rng.randrange(NANO)
            self.log.write(text, time)
            self._remember(text, time)

    def _may_set_clock(self) -> bool:
        """Whether to set the clock: without a relay, only an open stream sees lines with early times."""
        return self.schedule.has_relay or any(r.is_healthy_and_complete for r in self.log.open_responses)

    def _last_line_without_newline(self) -> None:
        text = self._text() or b"end"
        if self.schedule.has_relay:
            self.log.write(text + b"\x1e" + NONCE.encode() + b" n\n")
            self._remember(text, self.log.now())
        else:
            self._write_line(text, end=b"")

    def totals(self) -> Totals | None:
        return totals(bytes(self.stdout.content)) if self.schedule.has_relay else None


@dataclass(frozen=True, slots=True)
class Outcome:
    writer: Writer
    sink: RecordingSink
    report: LogReport


async def run_schedule(seed: int) -> Outcome:
    """Write the log of one schedule, follow it to its end, and return what was written and received."""
    schedule = Schedule.of(seed)
    sink, ended = RecordingSink(), asyncio.get_running_loop().create_future()
    writer = Writer(schedule, sink)
    rng = random.Random(seed + 3)
    sink.pause = rng.choice((0.0, 0.0, 0.0, 0.05))
    source_info = SourceInfo(
        nonce=NONCE if schedule.has_relay else None,
        expected_totals=lambda: writer.totals() if ended.done() else None,
        container_id=lambda: str(writer.log.restarts),
        relay_file=writer.stdout if schedule.relay_file_readable else None,
    )
    random.seed(seed)  # for random delays of the follower
    async with asyncio.TaskGroup() as group:
        following = group.create_task(Follower(writer.log, sink, source_info).run(ended))
        await writer.run()
        await asyncio.sleep(rng.choice((0.0, 0.05, 1.0, 3.0)))
        ended.set_result(None)
    assert not writer.log.open_responses
    return Outcome(writer, sink, following.result())


def lost_lines(outcome: Outcome) -> list[WrittenLine]:
    """Lines that were written but not delivered. Asserts that all others came once, whole and in order."""
    delivered = bytes(outcome.sink.out).split(b"\n")
    rest = delivered.pop()
    received = [line + b"\n" for line in delivered] + ([rest] if rest else [])
    lost, at = [], 0
    for line in outcome.writer.lines:
        if at < len(received) and received[at] == line.text:
            at += 1
        else:
            lost.append(line)
    assert at == len(received), f"line {at} was not written like this: {received[at][:80]!r}"
    return lost


def is_covered(line: WrittenLine, gaps: tuple[Gap, ...]) -> bool:
    """Whether the time of the line lies in a gap."""
    return any(
        (g.since is None or g.since <= line.time) and (g.until is None or line.time <= g.until) for g in gaps
    )
