"""Random lives of a container's log, reproducible from a seed, and what a correct follower makes of them."""

# ruff: noqa: S311 - dice, not secrets

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Literal

from tests.support.kubelet_log import NANO, Fault, KubeletLog, Refusal
from tests.support.log_sinks import NONCE, MemoryRelayFile, RecordingSink, totals

from paperclip_claude_k8s.podlog import Follower, Gap, LogReport, SourceInfo, Totals

BOOKMARK_EVERY = 20.0
HOW: tuple[Literal["eof", "broken", "hang", "apology"], ...] = ("eof", "broken", "hang", "apology")
HOSTILE = (
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
class Life:
    """What kind of life a seed stands for."""

    seed: int
    relay: bool
    """A relay marks the log, counts it, and keeps a file."""
    filler: bool
    """The relay's file can be read here."""
    rotates: bool
    drains: bool
    inner_stamps: bool
    twins: bool
    """Some lines are equal, in text and in time."""
    steps: bool
    """The node's clock is stepped."""
    restarts: bool
    stray: bool
    """stderr is stored between stdout lines, a little out of order."""
    zone: int
    sticks: bool
    """A reader stays at a file that was rotated away, until the next rotation."""

    @classmethod
    def of(cls, seed: int) -> "Life":
        dice = random.Random(seed)
        relay = dice.random() < 0.5
        rotates = dice.random() < 0.5
        inner = dice.random() < 0.4
        return cls(
            seed,
            relay=relay,
            filler=relay and dice.random() < 0.5,
            rotates=rotates,
            drains=not relay or dice.random() < 0.7,
            inner_stamps=inner,
            twins=not rotates and dice.random() < 0.7,
            steps=not inner and dice.random() < 0.2,
            restarts=rotates and dice.random() < 0.1,
            stray=not relay and not rotates and dice.random() < 0.5,
            zone=dice.choice((0, 0, 180, -570)),
            sticks=relay and rotates and dice.random() < 0.3,
        )


@dataclass(slots=True)
class Written:
    """One line that the container wrote."""

    text: bytes
    time: int
    files: set[int] = field(default_factory=set)
    """Which of the log's files hold its records."""


class Writer:
    """Plays a life: the agent, the relay and the runtime in one."""

    def __init__(self, life: Life, sink: RecordingSink) -> None:
        self.life = life
        self._sink = sink
        self.dice = random.Random(life.seed + 1)
        self.log = KubeletLog(
            inner_stamps=life.inner_stamps,
            drains=life.drains,
            sticks=life.sticks,
            zone=life.zone,
            dice=random.Random(life.seed + 2),
        )
        self.log.faults = [self._fault() for _ in range(self.dice.randrange(12))]
        self.lines: list[Written] = []
        self.stdout = MemoryRelayFile()
        self.stderr = bytearray()
        self.calm_end = True
        """Whether no connection was disturbed after the container's end."""
        self._count = 0
        self._quiet = 0.0
        self._restarted = False

    def _fault(self) -> Fault | Refusal | None:
        dice = self.dice
        match dice.randrange(8):
            case 0:
                return Refusal(dice.choice((0, 400, 429, 500, 503)), dice.choice((None, 1.0)))
            case 1 | 2 | 3 | 4:
                return Fault(
                    dice.choice(HOW), dice.choice((0, 10, 500, dice.randrange(20000), dice.randrange(400000)))
                )
            case 5:
                return Fault(
                    dice.choice(HOW), after_seconds=dice.choice((0.01, 1.0, 20.0, dice.random() * 100))
                )
            case _:
                return None

    async def play(self) -> None:
        for _ in range(self.dice.randrange(1, 25)):
            await self._step()
        if self.dice.random() < 0.3:
            self._last_line_without_newline()
        self.calm_end = not self.log.faults
        del self.log.faults[2:]  # more would outlast any budget of the completion
        self.log.terminate()

    async def _step(self) -> None:
        match self.dice.randrange(11):
            case 0 | 1 | 2:
                self._say(self._text())
            case 3:
                for _ in range(self.dice.choice((5, 50, 300))):
                    self._say(self._text())
            case 4:
                await self._long_line()
            case 5 | 6 | 7:
                await self._wait(self.dice.choice((0.001, 0.1, 0.7, 1.5, 4.0)))
            case 8:
                await self._wait(self.dice.choice((10.0, 40.0, 130.0)))
            case 9:
                self._rotate_or_restart()
            case _:
                self._step_clock_or_stray()

    def _text(self) -> bytes:
        self._count += 1
        if self.life.twins and self.dice.random() < 0.4:
            return b'{"same":true}'
        if not self.life.rotates and self.dice.random() < 0.3:
            return self.dice.choice(HOSTILE) + (b"" if self.life.twins else b"%d" % self._count)
        pad = "x" * self.dice.choice((0, 30, 200, 2000))
        return json.dumps({"n": self._count, "pad": pad}).encode()

    def _say(self, text: bytes, end: bytes = b"\n") -> None:
        self.log.write(text + end)
        self._wrote(text + end, self.log.now())

    def _wrote(self, line: bytes, time: int) -> None:
        first = len(self.log.files) - 1
        self.lines.append(Written(line, time, {first}))
        self.stdout.content += line
        self._quiet = 0.0

    async def _long_line(self) -> None:
        """A line of many records; they may spread over seconds and over two files."""
        size = self.dice.choice((16384, 16385, 20000, 49152, 100_000))
        self._count += 1
        text = json.dumps({"n": self._count, "pad": f"{self._count}," * (size // 3)}).encode() + b"\n"
        slow = self.life.drains and self.dice.random() < 0.5
        mends = self.life.filler or (self.life.drains and not self.life.sticks)
        turn = self._may_rotate() and mends and self.dice.random() < 0.4
        time, files = self.log.now(), set()
        self.stdout.content += text
        for at in range(0, len(text), 16384):
            self.log.record(text[at : at + 16384])
            files.add(len(self.log.files) - 1)
            if turn and at == 16384:
                self.log.rotate()
            if slow:
                await asyncio.sleep(self.dice.choice((0.0, 0.3, 1.2, 3.0)))
        self.lines.append(Written(text, time, files))
        self._quiet = 0.0

    async def _wait(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, BOOKMARK_EVERY - self._quiet) if self.life.relay else seconds
            await asyncio.sleep(step)
            seconds -= step
            self._quiet += step
            if self.life.relay and self._quiet >= BOOKMARK_EVERY:
                self._mark(b"b %d %d" % (len(self.stdout.content), self.stdout.content.count(b"\n")))
                self._quiet = 0.0

    def _mark(self, text: bytes) -> None:
        self.log.write(b"\x1e" + NONCE.encode() + b" " + text + b"\n")

    def _rotate_or_restart(self) -> None:
        if self.life.restarts and self._may_rotate() and not self._restarted:
            self._restarted = True
            self.log.restart()
        elif self._may_rotate():
            self.log.rotate()

    def _may_rotate(self) -> bool:
        """Without a file nobody can tell what a log began with that was rotated before it was ever read."""
        return self.life.rotates and (self.life.filler or len(self._sink.out) > 0)

    def _step_clock_or_stray(self) -> None:
        if self.life.steps and self._may_step():
            self.log.clock_offset += self.dice.choice((-3600, -90, -3, 5, 1800)) * NANO
        elif self.life.relay:
            self.stderr += b"warning %d\n" % self._count
            self._mark(b"e warning %d" % self._count)
        elif self.life.stray:
            text = b"stderr %d\n" % self._count
            time = self.log.now() - self.dice.randrange(NANO)
            self.log.write(text, time)
            self._wrote(text, time)

    def _may_step(self) -> bool:
        """Without counts nobody can know of lines stored with early times while nobody listened."""
        return self.life.relay or any(answer.sees_all for answer in self.log.open_answers)

    def _last_line_without_newline(self) -> None:
        text = self._text() or b"end"
        if self.life.relay:
            self.log.write(text + b"\x1e" + NONCE.encode() + b" n\n")
            self._wrote(text, self.log.now())
        else:
            self._say(text, end=b"")

    def totals(self) -> Totals | None:
        return totals(bytes(self.stdout.content)) if self.life.relay else None


@dataclass(frozen=True, slots=True)
class Played:
    writer: Writer
    sink: RecordingSink
    report: LogReport


async def play(seed: int) -> Played:
    """LineBatch one life and follow it to its end."""
    life = Life.of(seed)
    sink, ended = RecordingSink(), asyncio.get_running_loop().create_future()
    writer = Writer(life, sink)
    dice = random.Random(seed + 3)
    sink.pause = dice.choice((0.0, 0.0, 0.0, 0.05))
    source_info = SourceInfo(
        nonce=NONCE if life.relay else None,
        expected_totals=lambda: writer.totals() if ended.done() else None,
        container_id=lambda: str(writer.log.container),
        relay_file=writer.stdout if life.filler else None,
    )
    random.seed(seed)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(Follower(writer.log, sink, source_info).run(ended))
        await writer.play()
        await asyncio.sleep(dice.choice((0.0, 0.05, 1.0, 3.0)))
        ended.set_result(None)
    assert not writer.log.open_answers
    return Played(writer, sink, following.result())


def missing(played: Played) -> list[Written]:
    """Lines that were written and not delivered. Asserts that all others came once, whole and in order."""
    delivered = bytes(played.sink.out).split(b"\n")
    rest = delivered.pop()
    got = [line + b"\n" for line in delivered] + ([rest] if rest else [])
    lost, at = [], 0
    for line in played.writer.lines:
        if at < len(got) and got[at] == line.text:
            at += 1
        else:
            lost.append(line)
    assert at == len(got), f"line {at} is not what was written: {got[at][:80]!r}"
    return lost


def covered(line: Written, gaps: tuple[Gap, ...]) -> bool:
    return any(
        (g.since is None or g.since <= line.time) and (g.until is None or line.time <= g.until) for g in gaps
    )
