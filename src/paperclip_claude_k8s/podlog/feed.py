"""One open answer: bytes in, the lines of it that are new out."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

from paperclip_claude_k8s.podlog.cursor import Plan
from paperclip_claude_k8s.podlog.records import LineReader, Run, Stray
from paperclip_claude_k8s.podlog.resume import Replay
from paperclip_claude_k8s.podlog.source import ByteStream, LogSource


class Feed:
    """An answer to a plan. Close it however it ends."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.replay = Replay(plan)
        self.brought_new = False
        self.first_stray = plan.since is not None
        self._reader = LineReader()
        self._stack = AsyncExitStack()
        self._stream: ByteStream | None = None

    async def open(self, source: LogSource, *, follow: bool) -> None:
        """Send the request. Raises `LogRefused` or `LogBroken`."""
        answer = source.open(since=self.plan.since_time, follow=follow)
        self._stream = await self._stack.enter_async_context(answer)

    async def read(self) -> bytes:
        if self._stream is None:
            return b""
        return await self._stream.read()

    async def close(self) -> None:
        self._stream = None
        await self._stack.aclose()

    @property
    def torso(self) -> bytes:
        """The line at the end that has no newline yet."""
        return self._reader.torso

    def new(self, chunk: bytes) -> Iterator[Run | Stray]:
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
