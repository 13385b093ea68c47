"""Where the lines go, and the two other things a follower is given from outside."""

import asyncio
from typing import Protocol, TypeAlias

from paperclip_claude_k8s.podlog.log_report import Notice


class LogSink(Protocol):
    """Takes what the container wrote, in order.

    A slow sink slows the reading. One that raises is a bug: it is logged, told and counted, and what comes
    next is handed to it all the same. A call that is cancelled counts as not made, and is made again by
    whoever goes on from the follower's cursor.
    """

    async def stdout(self, block: bytes) -> None:
        """Whole lines, each with its newline; only the very last line of a log may lack it."""
        ...

    async def stderr(self, block: bytes) -> None:
        """Whole lines that the relay marked as standard error, each with a newline."""
        ...

    async def notice(self, notice: Notice) -> None:
        """Something about the log itself that a person should hear."""
        ...


class GapFiller(Protocol):
    """The relay's own file of the container's stdout, where this process can reach it."""

    async def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of stdout; fewer, or b"", where the file ends. Raises `OSError`."""
        ...


Ended: TypeAlias = asyncio.Future[None]
"""Done once the container has terminated."""
