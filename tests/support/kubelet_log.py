"""A model of how a kubelet serves a container's log, including its faults.

It reproduces the log reader of the kubelet:

- A line is stored as records of at most 16 KiB, each with a time. All records of a line except its last one
  are tagged as partial.
- `since` is truncated to whole seconds, and records with an earlier time are skipped.
- A stamp (the record's time as text) is written only at the start of a line; old kubelets write one before
  every record. stdout and stderr share one flag that says whether the output is at the start of a line.
- A new reader sees only the newest file. An attached reader moves to the newest file after a rotation: on
  some kubelets without reading the old file to its end, on old kubelets sometimes only at the next rotation.
- An error of the kubelet becomes text in the response.
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
RECORD_BYTES = 16 * 1024  # container runtimes split longer lines
EPOCH = 1_790_000_000
"""The node's clock at loop time 0, in seconds."""
KUBELET_ERROR = b"unable to retrieve container logs for containerd://0123"


class Record(NamedTuple):
    time: int
    text: bytes
    """Ends with a newline unless the record is partial."""


@dataclass(slots=True)
class LogFile:
    """One file of a container's log. A rotation or a restart starts a new one."""

    restarts: int
    """Number of the container's restarts before this file was started."""
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one connection, after a number of bytes or seconds, whichever comes first."""

    how: Literal["eof", "broken", "hang", "error_text"]
    """A normal end, a broken connection, no more bytes, or the kubelet's error message and a normal end."""
    after_bytes: int = 10**12  # by default never
    after_seconds: float = 1e6  # by default never


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response without a log. Status 0: no response at all."""

    status: int = 0
    retry_after: float | None = None


class Request(NamedTuple):
    at: float
    """Loop time."""
    since: int | None
    follow: bool
    tail: int | None = None


class KubeletLog:
    """The log of one container: a `LogSource` for the follower, with methods for the test to write to it."""

    def __init__(
        self,
        *,
        inner_stamps: bool = False,
        reads_rotated_file_to_end: bool = True,
        stays_at_rotated_file: bool = False,
        zone: int = 0,
        ignores_options: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        """Create an empty log.

        `inner_stamps`: an old kubelet, which writes stamps before every record. `reads_rotated_file_to_end`:
        readers read a rotated file to its end. `stays_at_rotated_file`: they stay at it until the next
        rotation. `zone`: the node's time zone, minutes east of UTC. `ignores_options`: a virtual kubelet,
        which always sends the whole log, without stamps. `rng`: cuts the responses into random chunks.
        """
        self.inner_stamps = inner_stamps
        self.reads_rotated_file_to_end = reads_rotated_file_to_end
        self.stays_at_rotated_file = stays_at_rotated_file
        self.zone = zone
        self.ignores_options = ignores_options
        self.rng = rng
        self.clock_offset = 0
        """Nanoseconds by which the node's clock was set forward (negative: back) since loop time 0."""
        self.restarts = 0
        """Number of the container's restarts so far."""
        self.files = [LogFile(0)]
        self.faults: list[Fault | Refusal | None] = []
        """What happens to the next requests, in order; None: no fault."""
        self.requests: list[Request] = []
        self.open_responses: list[Response] = []
        self.terminated = False
        self.cut_without_error = False
        """Whether the last stream ended normally although the container was still running."""
        self._change = asyncio.Event()

    # called by the test -------------------------------------------------------------------------

    def now(self) -> int:
        """The node's clock, nanoseconds."""
        return EPOCH * NANO + int(asyncio.get_running_loop().time() * NANO) + self.clock_offset

    def record(self, text: bytes, time: int | None = None) -> None:
        """Store one record unchanged."""
        self.files[-1].records.append(Record(self.now() if time is None else time, text))
        self.notify_readers()

    def write(self, text: bytes, time: int | None = None) -> None:
        """Store output as a runtime does, with one time for all of it."""
        for line in text.split(b"\n")[:-1]:
            self._write_line(line + b"\n", time)
        self._write_line(text.rpartition(b"\n")[2], time)

    def _write_line(self, line: bytes, time: int | None) -> None:
        for at in range(0, len(line), RECORD_BYTES):
            self.record(line[at : at + RECORD_BYTES], time)

    def rotate(self) -> None:
        self.files.append(LogFile(self.restarts))
        self.notify_readers()

    def restart(self) -> None:
        """The container restarts; its earlier log is no longer served."""
        self.restarts += 1
        self.files.append(LogFile(self.restarts))
        self.notify_readers()

    def terminate(self) -> None:
        self.terminated = True
        self.notify_readers()

    def notify_readers(self) -> None:
        if self.reads_rotated_file_to_end:
            for response in self.open_responses:
                response.pull()
        self._change.set()
        self._change = asyncio.Event()

    async def changed(self) -> None:
        await self._change.wait()

    # called by the follower ---------------------------------------------------------------------

    def open(
        self, *, since: int | None, follow: bool, tail: int | None = None
    ) -> AbstractAsyncContextManager["Response"]:
        self.requests.append(Request(asyncio.get_running_loop().time(), since, follow, tail))
        return self._respond(since, follow=follow, tail=tail)

    @asynccontextmanager
    async def _respond(
        self, since: int | None, *, follow: bool, tail: int | None
    ) -> AsyncIterator["Response"]:
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(0.005)
        if isinstance(fault, Refusal):
            if not fault.status:
                raise LogBroken("connection refused")
            raise LogRefused(fault.status, "no log here", fault.retry_after)
        response = Response(self, since, fault, follow=follow)
        response.skip_to_last(tail)
        self.open_responses.append(response)
        try:
            yield response
        finally:
            self.open_responses.remove(response)


class Response:
    """One open response, which reads the files from its own position."""

    def __init__(self, log: KubeletLog, since: int | None, fault: Fault | None, *, follow: bool) -> None:
        self._log = log
        self._since = None if since is None or log.ignores_options else since // NANO * NANO
        self._fault = fault
        self.follows = follow
        self._file = log.files[-1]
        self._at = 0
        """Index of the next record of `_file`."""
        self._line_start = True
        """Whether the output so far ends at the start of a line."""
        self._out = bytearray()
        self._given = 0
        """Number of bytes returned so far."""
        self.stalled = False
        """Set by a test to withhold new output from the reader."""
        if follow:  # a new stream makes up for one that ended normally
            log.cut_without_error = False
        never = 1e9
        self._broken_at = asyncio.get_running_loop().time() + (fault.after_seconds if fault else never)
        """Loop time from which a read without new bytes fails."""

    def end(self) -> None:
        """End this response now, although the container is still running."""
        self.pull()
        self._fault = Fault("eof", self._given + len(self._out))
        self._broken_at = 0.0
        self._log.notify_readers()

    def skip_to_last(self, records: int | None) -> None:
        if records is not None and not self._log.ignores_options:
            self._at = max(len(self._file.records) - records, 0)

    @property
    def is_healthy_and_complete(self) -> bool:
        """Whether this response follows the whole log and has no fault."""
        return self.follows and self._since is None and self._fault is None

    async def read(self) -> bytes:
        while True:
            self.pull()
            if self._fault and self._given >= self._fault.after_bytes:
                return await self._fail(self._fault)
            if self._out and not self.stalled:
                return self._take()
            if self._has_ended():
                return b""
            try:
                async with asyncio.timeout_at(self._broken_at):
                    await self._log.changed()
            except TimeoutError:
                self._fault = Fault(self._fault.how if self._fault else "broken", self._given)

    def pull(self) -> None:
        """Add the records of the files up to the newest one to the output."""
        while True:
            newest = self._log.files[-1]
            moves = newest is not self._file and newest.restarts == self._file.restarts and self.follows
            if moves and self._log.stays_at_rotated_file and self._log.files[-2] is self._file:
                moves = False
            if moves and not self._log.reads_rotated_file_to_end:
                self._file, self._at = newest, 0
            while self._at < len(self._file.records):
                self._emit(self._file.records[self._at])
                self._at += 1
            if not moves or self._file is newest:
                return
            self._file, self._at = newest, 0

    def _emit(self, record: Record) -> None:
        if self._since is None or record.time >= self._since:
            stamped = self._line_start or self._log.inner_stamps
            if stamped and not self._log.ignores_options:
                self._out += stamp(record.time, self._log.zone)
            self._out += record.text
        self._line_start = record.text.endswith(b"\n")

    def _has_ended(self) -> bool:
        newest = self._log.files[-1]
        return not self.follows or self._log.terminated or newest.restarts != self._file.restarts

    def _take(self) -> bytes:
        size = len(self._out)
        if self._log.rng:
            size = min(size, self._log.rng.choice((size, size, 65536, 20000, 300, 31)))
        if self._fault:
            size = min(size, self._fault.after_bytes - self._given)
        taken = bytes(self._out[:size])
        del self._out[:size]
        self._given += size
        return taken

    async def _fail(self, fault: Fault) -> bytes:
        match fault.how:
            case "eof":
                self._log.cut_without_error = self.follows
                return b""
            case "broken":
                raise LogBroken("connection reset")
            case "error_text":
                self._fault = Fault("eof", self._given)
                return KUBELET_ERROR
            case "hang":
                await asyncio.Event().wait()
        return b""


@lru_cache(maxsize=4096)
def _second(second: int, zone: int) -> bytes:
    node_zone = timezone(timedelta(minutes=zone)) if zone else UTC
    return datetime.fromtimestamp(second, node_zone).strftime("%Y-%m-%dT%H:%M:%S").encode()


def stamp(time: int, zone: int = 0) -> bytes:
    """A time as the kubelet prints it before a line. `zone`: minutes east of UTC."""
    second, nano = divmod(time, NANO)
    sign = b"+" if zone > 0 else b"-"
    tail = b"Z" if not zone else b"%b%02d:%02d" % (sign, *divmod(abs(zone), 60))
    return b"%b.%09d%b " % (_second(second, zone), nano, tail)
