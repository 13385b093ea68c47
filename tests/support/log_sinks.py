"""For tests of the log follower: sinks, relay files, and `Scenario`, a follower of a `KubeletLog`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from tests.support.kubelet_log import KubeletLog

from paperclip_claude_k8s.podlog import (
    Follower,
    FollowTimings,
    Gap,
    GapFilled,
    LogReport,
    Notice,
    SourceInfo,
    Totals,
)

NONCE = "0badc0de"


@dataclass(slots=True)
class RecordingSink:
    """A sink that keeps everything it receives."""

    out: bytearray = field(default_factory=bytearray)
    blocks: list[bytes] = field(default_factory=list)
    err: bytearray = field(default_factory=bytearray)
    notices: list[Notice] = field(default_factory=list)
    pause: float = 0.0
    """Seconds that the sink takes for each block of stdout."""
    fails: bool = False
    """Whether each call for stdout raises."""

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
class MemoryRelayFile:
    """The relay's file, in memory."""

    content: bytearray = field(default_factory=bytearray)
    fails: bool = False
    hidden: int = 0
    """Number of bytes at the end of the file that are not visible yet."""

    async def read(self, start: int, stop: int) -> bytes:
        if self.fails:
            raise OSError("the volume is gone")
        return bytes(self.content[: len(self.content) - self.hidden][start:stop])


@dataclass(slots=True)
class HangingRelayFile(MemoryRelayFile):
    """A file on a volume whose server does not respond."""

    reads: int = 0

    async def read(self, start: int, stop: int) -> bytes:
        self.reads += 1
        await asyncio.Event().wait()
        return b""


@dataclass(slots=True)
class Scenario:
    """A follower of a `KubeletLog`, with a sink that records. `ended`: done when the container has ended."""

    log: KubeletLog = field(default_factory=KubeletLog)
    sink: RecordingSink = field(default_factory=RecordingSink)
    ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    source_info: SourceInfo = field(default_factory=SourceInfo)
    report: LogReport | None = None
    follower: Follower | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the log while the `async with` block runs. Then the container ends, and `report` is set."""
        self.follower = Follower(self.log, self.sink, self.source_info)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self.follower.run(self.ended))
            yield
            self.log.terminate()
            await asyncio.sleep(0.05)
            self.ended.set_result(None)
        self.report = following.result()

    def write_lines(self, *lines: str) -> None:
        self.log.write("".join(line + "\n" for line in lines).encode())

    def write_mark(self, text: str) -> None:
        self.log.write(f"\x1e{NONCE} {text}\n".encode())

    @property
    def out(self) -> str:
        return self.sink.out.decode()


def totals(content: bytes) -> Totals:
    """The totals that the relay reports if the agent prints this stdout."""
    return Totals(len(content), content.count(b"\n"), sha256(content).hexdigest())


async def follow(
    log: KubeletLog,
    sink: RecordingSink,
    source_info: SourceInfo | None = None,
    timings: FollowTimings | None = None,
) -> LogReport:
    """Follow a log whose container has ended already."""
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    return await Follower(log, sink, source_info, timings=timings or FollowTimings()).run(ended)
