"""What the follower needs from outside: a log, a sink for lines, the relay's file, and `Ended`.

The follower depends neither on Kubernetes nor on HTTP. `run/agent_log.py` adapts the cluster's log API to
`LogSource` and hands each block of lines to the host through `LogSink`. `volume/run_log_file.py` implements
`RelayFile`.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from paperclip_claude_k8s.podlog.log_report import Notice

Ended: TypeAlias = asyncio.Future[None]
"""Done as soon as the container has terminated."""


class LogRefused(Exception):
    """The server responded, but not with a log: any HTTP status other than 200."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        """Seconds to wait before the next request, if the server sent `Retry-After`."""


class LogBroken(Exception):
    """No response, or an incomplete one: connection refused or reset, a timeout, a truncated chunk."""


class ByteStream(Protocol):
    """An open response. Each line starts with the runtime's timestamp, unless the server omits timestamps."""

    async def read(self) -> bytes:
        """Return the next bytes as they arrived; b"" after the server has ended the response.

        A cancelled read consumes nothing: the next read returns the same bytes. Raises `LogBroken`.
        """
        ...


class LogSource(Protocol):
    """The log of one container, with timestamps."""

    def open(
        self, *, since: int | None, follow: bool, tail: int | None = None
    ) -> AbstractAsyncContextManager[ByteStream]:
        """Open the log.

        `since`: UTC nanoseconds; the server sends only records stored at or after this time. It is always a
        whole second here, because the API server truncates it to one. None: from the oldest record kept.
        `follow`: keep the response open for new lines; otherwise it ends with the newest existing record.
        `tail`: send only this many records from the end. A long line consists of several records.
        Calling or entering raises `LogRefused` or `LogBroken`.
        """
        ...


class LogSink(Protocol):
    """Receives what the container wrote, in order.

    Reading waits for the sink, so a slow sink slows it down. A sink must not raise. If it does, the error is
    logged, reported as a notice and counted, and the following lines are still delivered.
    """

    async def stdout(self, block: bytes) -> None:
        """Receive whole lines, each with its newline. Only the very last line of a log may lack it."""
        ...

    async def stderr(self, block: bytes) -> None:
        """Receive whole lines that the relay marked as standard error, each with its newline."""
        ...

    async def notice(self, notice: Notice) -> None:
        """Receive an event about the log itself, meant for a person."""
        ...


class RelayFile(Protocol):
    """The file in which the relay keeps a copy of the container's stdout, if this process can reach it."""

    async def read(self, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of stdout; fewer, or b"", at the end of the file. Raises `OSError`."""
        ...
