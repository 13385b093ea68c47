"""One open response: bytes in, new lines out.

`read` returns raw bytes from the socket, `new_lines` turns them into batches that were not delivered before:

    bytes → LineReader (complete lines) → Replay (without the delivered ones) → LineBatch

If the server writes no timestamps, `StampCompletion` adds them to the bytes first.

A followed stream and a bounded read, which ends with the newest existing line, are both a `LogStream`; only
`follow` differs.
"""

from collections.abc import Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, suppress

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog.interfaces import ByteStream, LogBroken, LogSource
from paperclip_claude_k8s.podlog.log_lines import LineBatch, LineReader, UnstampedText, read_stamp
from paperclip_claude_k8s.podlog.missing_stamps import ServerStamps, StampCompletion, StampsChanged
from paperclip_claude_k8s.podlog.position import ResumePlan
from paperclip_claude_k8s.podlog.read_budget import MIN_BYTES_PER_SECOND, USED_UP, ReadBudget
from paperclip_claude_k8s.podlog.resume import Misaligned, Replay

NO_LINES = "the server sends text, but no lines of the log"


class LineTimer:
    """Notices that a stream should be read no further although bytes arrive.

    Either a few bytes arrive now and then but no line, which could go on for ever, or the time for the rest
    of the log is used up.
    """

    def __init__(self, stream: "LogStream", budget: ReadBudget) -> None:
        self.reason = ""
        """Why `is_over` was true."""
        self._stream = stream
        self._budget = budget
        self._lines = stream.lines
        self._since: float | None = None
        """Loop time of the last line; before any line, of the first chunk; None before that."""
        self._bytes = 0
        """Bytes that arrived after `_since`."""

    def is_over(self, chunk: bytes) -> bool:
        """Called after each chunk. If True, `reason` says why.

        If no line came for `stall_timeout`, the speed decides: bytes of a very long line arrive fast.
        """
        now = loop_time()
        if self._since is None or self._stream.lines != self._lines:
            self._lines, self._since, self._bytes = self._stream.lines, now, 0
        self._bytes += len(chunk)
        passed = now - self._since
        if passed > self._budget.timings.stall_timeout and self._bytes < passed * MIN_BYTES_PER_SECOND:
            self.reason = NO_LINES
        elif self._budget.is_used_up:
            self.reason = USED_UP
        return bool(self.reason)


class LogStream:
    """The response to the request that a plan describes. It must be closed in every case."""

    def __init__(self, plan: ResumePlan, server_stamps: ServerStamps) -> None:
        self.plan = plan
        self.replay = Replay(plan)
        self.brought_new = False
        """Whether it had a line that was not delivered before."""
        self.lines = 0
        """Number of its lines so far, delivered before or not."""
        self._may_start_mid_line = plan.since is not None
        self._reader = LineReader()
        self._stamps = None if server_stamps.written else StampCompletion(server_stamps)
        """None: nothing has to be added, because the response has timestamps."""
        self._response: AbstractAsyncContextManager[ByteStream] | None = None
        self._byte_stream: ByteStream | None = None

    async def open(self, source: LogSource, *, follow: bool, tail: int | None = None) -> None:
        """Send the request. Raises `LogRefused` or `LogBroken`."""
        response = source.open(since=self.plan.since_time, follow=follow, tail=tail)
        self._byte_stream = await response.__aenter__()
        self._response = response

    def read(self) -> Awaitable[bytes]:
        """Return the next bytes, b"" at the end of the response. Raises `LogBroken`."""
        assert self._byte_stream is not None  # noqa: S101  # `open` has returned
        return self._byte_stream.read()

    async def close(self) -> None:
        response, self._response, self._byte_stream = self._response, None, None
        if response is not None:
            with suppress(LogBroken):  # a break may be why the stream is closed
                await response.__aexit__(None, None, None)

    @property
    def may_start_too_late(self) -> bool:
        """Whether the start time may hide new lines: none has come, and a node's clock can be set back."""
        return self.plan.since is not None and not self.brought_new

    @property
    def may_omit_lines(self) -> bool:
        """Whether the response may lack lines.

        They may have early times, because the node's clock was set back, or continue the partial last line.
        """
        return self.plan.since is not None or bool(self.partial_line)

    @property
    def partial_line(self) -> bytes:
        """The last line, which has no newline yet."""
        return (self._stamps.beginning if self._stamps is not None else b"") or self._reader.partial_line

    @property
    def lacks_stamps(self) -> bool:
        """Whether the server wrote no timestamps into this response."""
        return self._stamps is not None and self._stamps.needed is True

    @property
    def ends_with_error_text(self) -> bool:
        """Whether the response ends with text that has no stamp: the server inserted an error message."""
        return bool(self.partial_line) and read_stamp(self.partial_line) is None

    def new_lines(self, chunk: bytes) -> Iterator[LineBatch | UnstampedText]:
        """What the chunk contains that was not delivered before. Raises `Misaligned`."""
        if self._stamps is not None:
            chunk = self._complete_stamps(self._stamps, chunk)
        for item in self._reader.feed(chunk):
            if isinstance(item, LineBatch):
                self._may_start_mid_line = False
                self.lines += item.count
                new = self.replay.skip_delivered(item)
                if new is not None:
                    self.brought_new = True
                    yield new
            elif self.replay.done and not self._may_start_mid_line:
                yield item
            else:
                # the rest of a line that began before the start time, or text between lines delivered before
                self._may_start_mid_line = False

    def _complete_stamps(self, stamps: StampCompletion, chunk: bytes) -> bytes:
        try:
            chunk = stamps.complete(chunk)
        except StampsChanged:
            raise Misaligned from None
        if stamps.needed is False:
            self._stamps = None
        return chunk
