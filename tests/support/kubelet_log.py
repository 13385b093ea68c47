"""A model of how a kubelet serves a container's log: records, not lines, with everything that can go wrong.

It follows the reader in the kubelet. A line is stored as records of at most 16 KiB, each with a time and a
tag for "partial". `since` is applied to each record and cut to whole seconds. One flag says whether output
stands at the start of a line, for both streams together, and a stamp is written only there (or, by old
kubelets, before every record). A new reader sees the newest file only. An attached reader moves to the newest
file after a rotation, on some kubelets without reading the old one to its end, and on old ones at times only
at the next rotation, as it looked for the new file too early. An error becomes text in the answer.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Literal, NamedTuple

from paperclip_claude_k8s.podlog import LogBroken, LogRefused

NANO = 10**9
RECORD_BYTES = 16 * 1024
EPOCH = 1_790_000_000
"""The node's clock at loop time 0, in seconds."""
APOLOGY = b"unable to retrieve container logs for containerd://0123"


class Record(NamedTuple):
    time: int
    text: bytes
    """With a newline unless it is partial."""


@dataclass(slots=True)
class LogFile:
    """One file of a container's log; rotation and restart begin another."""

    container: int
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls one connection, after so many bytes or seconds, whichever comes first."""

    how: Literal["eof", "broken", "hang", "apology"]
    after_bytes: int = 10**12
    after_seconds: float = 1e6


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no log; status 0 is no answer at all."""

    status: int = 0
    retry_after: float | None = None


class Request(NamedTuple):
    at: float
    since: int | None
    follow: bool
    tail: int | None = None


class KubeletLog:
    """The log of one container: a `LogSource` for the follower, and a pen for the test."""

    def __init__(
        self,
        *,
        inner_stamps: bool = False,
        drains: bool = True,
        sticks: bool = False,
        zone: int = 0,
        dice: random.Random | None = None,
    ) -> None:
        """`zone` is the node's, in minutes east of UTC; `dice` cut the answers at any byte."""
        self.inner_stamps = inner_stamps
        self.drains = drains
        self.sticks = sticks
        self.zone = zone
        self.dice = dice
        self.clock_offset = 0
        self.container = 0
        self.files = [LogFile(0)]
        self.faults: list[Fault | Refusal | None] = []
        self.requests: list[Request] = []
        self.open_answers: list[Answer] = []
        self.terminated = False
        self.cut_quietly = False
        """Whether the last stream came to a clean end though the container went on."""
        self._change = asyncio.Event()

    # the pen ------------------------------------------------------------------------------------

    def now(self) -> int:
        """The node's clock, nanoseconds."""
        return EPOCH * NANO + int(asyncio.get_running_loop().time() * NANO) + self.clock_offset

    def record(self, text: bytes, time: int | None = None) -> None:
        """Store one record as it is."""
        self.files[-1].records.append(Record(self.now() if time is None else time, text))
        self.wake()

    def write(self, text: bytes, time: int | None = None) -> None:
        """Store output as a runtime does, all of it with one time."""
        for line in text.split(b"\n")[:-1]:
            self._line(line + b"\n", time)
        self._line(text.rpartition(b"\n")[2], time)

    def _line(self, line: bytes, time: int | None) -> None:
        for at in range(0, len(line), RECORD_BYTES):
            self.record(line[at : at + RECORD_BYTES], time)

    def rotate(self) -> None:
        self.files.append(LogFile(self.container))
        self.wake()

    def restart(self) -> None:
        """The container is started again; its earlier log is served no longer."""
        self.container += 1
        self.files.append(LogFile(self.container))
        self.wake()

    def terminate(self) -> None:
        self.terminated = True
        self.wake()

    def wake(self) -> None:
        if self.drains:
            for answer in self.open_answers:
                answer.pull()
        self._change.set()
        self._change = asyncio.Event()

    async def changed(self) -> None:
        await self._change.wait()

    # the server ---------------------------------------------------------------------------------

    def open(
        self, *, since: int | None, follow: bool, tail: int | None = None
    ) -> AbstractAsyncContextManager["Answer"]:
        self.requests.append(Request(asyncio.get_running_loop().time(), since, follow, tail))
        return self._answer(since, follow=follow, tail=tail)

    @asynccontextmanager
    async def _answer(self, since: int | None, *, follow: bool, tail: int | None) -> AsyncIterator["Answer"]:
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(0.005)
        if isinstance(fault, Refusal):
            if not fault.status:
                raise LogBroken("connection refused")
            raise LogRefused(fault.status, "no log here", fault.retry_after)
        answer = Answer(self, since, fault, follow=follow)
        answer.skip_to_last(tail)
        self.open_answers.append(answer)
        try:
            yield answer
        finally:
            self.open_answers.remove(answer)


class Answer:
    """One connection's view of the log."""

    def __init__(self, log: KubeletLog, since: int | None, fault: Fault | None, *, follow: bool) -> None:
        self._log = log
        self._since = None if since is None else since // NANO * NANO
        self._fault = fault
        self.follows = follow
        self._file = log.files[-1]
        self._at = 0
        self._line_start = True
        self._out = bytearray()
        self._given = 0
        self.stalled = False
        """Whether what is written does not get through to the reader."""
        log.cut_quietly &= not follow
        self._broken_at = asyncio.get_running_loop().time() + (fault.after_seconds if fault else 1e9)

    def end(self) -> None:
        """The server ends this answer now, though the container goes on."""
        self.pull()
        self._fault = Fault("eof", self._given + len(self._out))
        self._broken_at = 0.0
        self._log.wake()

    def skip_to_last(self, records: int | None) -> None:
        if records is not None:
            self._at = max(len(self._file.records) - records, 0)

    @property
    def sees_all(self) -> bool:
        """Whether this is a healthy connection that leaves nothing out."""
        return self.follows and self._since is None and self._fault is None

    async def read(self) -> bytes:
        while True:
            self.pull()
            if self._fault and self._given >= self._fault.after_bytes:
                return await self._fail(self._fault)
            if self._out and not self.stalled:
                return self._take()
            if self._over():
                return b""
            try:
                async with asyncio.timeout_at(self._broken_at):
                    await self._log.changed()
            except TimeoutError:
                self._fault = Fault(self._fault.how if self._fault else "broken", self._given)

    def pull(self) -> None:
        """Read on in the files as far as there is something."""
        while True:
            newest = self._log.files[-1]
            moves = newest is not self._file and newest.container == self._file.container and self.follows
            if self._log.sticks and newest is not self._file and self._log.files[-2] is self._file:
                moves = False
            if moves and not self._log.drains:
                self._file, self._at = newest, 0
            while self._at < len(self._file.records):
                self._emit(self._file.records[self._at])
                self._at += 1
            if not moves or self._file is newest:
                return
            self._file, self._at = newest, 0

    def _emit(self, record: Record) -> None:
        if self._since is None or record.time >= self._since:
            if self._line_start or self._log.inner_stamps:
                self._out += stamp(record.time, self._log.zone)
            self._out += record.text
        self._line_start = record.text.endswith(b"\n")

    def _over(self) -> bool:
        newest = self._log.files[-1]
        return not self.follows or self._log.terminated or newest.container != self._file.container

    def _take(self) -> bytes:
        size = len(self._out)
        if self._log.dice:
            size = min(size, self._log.dice.choice((size, size, 65536, 20000, 300, 31)))
        if self._fault:
            size = min(size, self._fault.after_bytes - self._given)
        taken = bytes(self._out[:size])
        del self._out[:size]
        self._given += size
        return taken

    async def _fail(self, fault: Fault) -> bytes:
        match fault.how:
            case "eof":
                self._log.cut_quietly = self.follows
                return b""
            case "broken":
                raise LogBroken("connection reset")
            case "apology":
                self._fault = Fault("eof", self._given)
                return APOLOGY
            case "hang":
                await asyncio.Event().wait()
        return b""


@lru_cache(maxsize=4096)
def _second(second: int, zone: int) -> bytes:
    place = timezone(timedelta(minutes=zone)) if zone else UTC
    return datetime.fromtimestamp(second, place).strftime("%Y-%m-%dT%H:%M:%S").encode()


def stamp(time: int, zone: int = 0) -> bytes:
    """A time as the kubelet prints it in front of a line."""
    second, nano = divmod(time, NANO)
    tail = b"Z" if not zone else b"%c%02d:%02d" % (b"-+"[zone > 0], *divmod(abs(zone), 60))
    return b"%b.%09d%b " % (_second(second, zone), nano, tail)
