"""One open answer: bytes in, the lines of it that are new out."""

from collections.abc import Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, suppress

from paperclip_claude_k8s.podlog.log_lines import LineReader, Run, UnstampedText
from paperclip_claude_k8s.podlog.position import Plan
from paperclip_claude_k8s.podlog.resume import Replay
from paperclip_claude_k8s.podlog.source import ByteStream, LogBroken, LogSource
from paperclip_claude_k8s.podlog.stamps import read_stamp


class LogStream:
    """An answer to a plan. Close it however it ends."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.replay = Replay(plan)
        self.brought_new = False
        self.first_stray = plan.since is not None
        self._reader = LineReader()
        self._answer: AbstractAsyncContextManager[ByteStream] | None = None
        self._stream: ByteStream | None = None

    async def open(self, source: LogSource, *, follow: bool, tail: int | None = None) -> None:
        """Send the request. Raises `LogRefused` or `LogBroken`."""
        answer = source.open(since=self.plan.since_time, follow=follow, tail=tail)
        self._stream = await answer.__aenter__()
        self._answer = answer

    def read(self) -> Awaitable[bytes]:
        """The next bytes of the open answer, b"" at its end. Raises `LogBroken`."""
        assert self._stream is not None  # noqa: S101  # only an open feed is read
        return self._stream.read()

    async def close(self) -> None:
        answer, self._answer, self._stream = self._answer, None, None
        if answer is not None:
            with suppress(LogBroken):  # it may be why we close it
                await answer.__aexit__(None, None, None)

    @property
    def brought_nothing(self) -> bool:
        """Whether this is a later answer that brought nothing but what was known."""
        return self.plan.since is not None and not self.brought_new

    @property
    def may_hide(self) -> bool:
        """Whether lines with early times would not have come: the node's clock may have been set back."""
        return self.plan.since is not None or bool(self.partial_line)

    @property
    def partial_line(self) -> bytes:
        """The line at the end that has no newline yet."""
        return self._reader.partial_line

    @property
    def ends_strangely(self) -> bool:
        """Whether there is text at the end that is no log: an error that the server put into the answer."""
        return bool(self.partial_line) and read_stamp(self.partial_line) is None

    def new(self, chunk: bytes) -> Iterator[Run | UnstampedText]:
        """What the chunk brings that was not delivered. Raises `Misaligned`."""
        for item in self._reader.feed(chunk):
            if isinstance(item, Run):
                self.first_stray = False
                fresh = self.replay.fresh(item)
                if fresh is not None:
                    self.brought_new = True
                    yield fresh
            elif self.replay.over and not self.first_stray:
                yield item
            else:
                self.first_stray = False  # the rest of a line that began before the time asked for
