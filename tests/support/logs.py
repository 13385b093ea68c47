"""Sinks for the follower's tests, and a way to run it against the model."""

import asyncio
from dataclasses import dataclass, field

from tests.support.kubelet import KubeletLog

from paperclip_claude_k8s.podlog import Follower, Gap, GapFilled, LogReport, Notice, Origin, Pace


@dataclass(slots=True)
class Heard:
    """A sink that keeps what it heard."""

    out: bytearray = field(default_factory=bytearray)
    blocks: list[bytes] = field(default_factory=list)
    err: bytearray = field(default_factory=bytearray)
    notices: list[Notice] = field(default_factory=list)
    pause: float = 0.0
    """Seconds each block takes."""
    fails: bool = False

    async def stdout(self, block: bytes) -> None:
        self.out += block
        self.blocks.append(block)
        if self.pause:
            await asyncio.sleep(self.pause)
        if self.fails:
            raise OSError("the host's log is full")

    async def stderr(self, block: bytes) -> None:
        self.err += block

    async def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def gaps(self) -> list[Gap]:
        return [notice for notice in self.notices if isinstance(notice, Gap)]

    def filled(self) -> list[GapFilled]:
        return [notice for notice in self.notices if isinstance(notice, GapFilled)]


@dataclass(slots=True)
class RelayFile:
    """The relay's file of stdout."""

    content: bytearray = field(default_factory=bytearray)
    fails: bool = False
    hidden: int = 0
    """Bytes at its end that cannot be seen from here yet."""

    async def read(self, start: int, stop: int) -> bytes:
        if self.fails:
            raise OSError("the volume is gone")
        return bytes(self.content[: len(self.content) - self.hidden][start:stop])


@dataclass(slots=True)
class HungVolume(RelayFile):
    """One whose server does not answer."""

    asked: int = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.asked += 1
        await asyncio.Event().wait()
        return b""


async def follow(
    log: KubeletLog, sink: Heard, origin: Origin | None = None, pace: Pace | None = None
) -> LogReport:
    """Follow a log whose container has ended already."""
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    return await Follower(log, sink, origin, pace=pace).run(ended)
