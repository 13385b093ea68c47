"""Where the bytes come from: what the follower asks of a container's log."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class LogRefused(Exception):
    """The server answered, but not with a log: any HTTP status but 200."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        """Seconds the server asked us to stay away, where it said so."""


class LogBroken(Exception):
    """No answer, or one that broke off: connection refused or reset, a time limit, a torn chunk."""


class ByteStream(Protocol):
    """An open answer. Every line in it carries the runtime's timestamp in front."""

    async def read(self) -> bytes:
        """The next bytes as they came; b"" once the server has ended the answer.

        A read that is cancelled has taken nothing: the next one gives those bytes. Raises `LogBroken`.
        """
        ...


class LogSource(Protocol):
    """The log of one container, with timestamps."""

    def open(
        self, *, since: int | None, follow: bool, tail: int | None = None
    ) -> AbstractAsyncContextManager[ByteStream]:
        """Open the log.

        `since` is UTC nanoseconds, always a whole second here because the API server cuts it to one: only
        records at or after it are sent; None is the beginning of what is kept. `follow` keeps the answer
        open for lines to come; without it the answer ends with what there is. `tail` asks for the last so
        many records only; a long line is several. Opening or entering it raises `LogRefused` or `LogBroken`.
        """
        ...
