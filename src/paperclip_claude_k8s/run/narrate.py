"""Everything that is sent to the host's log of a run, one call at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterator

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import REPLACEMENT
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.host.context import ExecutionContext, LogStreamName
from paperclip_claude_k8s.host.known_secrets import mask_values
from paperclip_claude_k8s.instrumentation.event_hub import EventHub
from paperclip_claude_k8s.instrumentation.event_types import RunStatus
from paperclip_claude_k8s.instrumentation.run_emitter import RunEmitter
from paperclip_claude_k8s.plan.run_variables import bearer_tokens
from paperclip_claude_k8s.ports import NullJournal, RunJournal, utc_now
from paperclip_claude_k8s.run.host_callbacks import catch_host_errors
from paperclip_claude_k8s.run.job_events import JobEvents
from paperclip_claude_k8s.run.readable_output import ReadableOutput
from paperclip_claude_k8s.verdict.result_builder import HostFailures
from paperclip_claude_k8s.verdict.wording import error_text

PREFIX = "[paperclip] "
"""Beginning of every line of the adapter in the host's log."""
LINE_BYTES = LIMITS.host_chunk_bytes
"""Lines up to this size are not split."""
CHUNK_BYTES = 60 * 1024
"""Size limit for chunks of whole lines, if the host names no smaller one."""

_log = logging.getLogger(__name__)


class Narrator:
    """Serialises the calls of `onLog`: parallel calls could interleave.

    An exception in the callback does not end the run. The first one is logged, and every chunk that the host
    did not accept is counted for `resultJson.log`.

    The adapter's own lines also go to the journal, which can therefore tell them from the agent's output. In
    `onLog` both look alike, because an agent can print `PREFIX`, too.
    """

    def __init__(
        self, ctx: ExecutionContext, journal: RunJournal | None = None, events: RunEmitter | None = None
    ) -> None:
        self.events = events or RunEmitter(EventHub(), utc_now)
        """Emits the events of this run."""
        self.job_events: JobEvents | None = None
        """Makes Kubernetes Events of the run's events; None without `jobEvents`."""
        self._on_log = ctx.on_log
        self._journal = journal or NullJournal()
        self._ctx = ctx
        self._lock = asyncio.Lock()
        self._chunk_bytes = min(ctx.log_chunk_bytes or CHUNK_BYTES, CHUNK_BYTES)
        self.readable: ReadableOutput | None = None
        """Turns the agent's stdout into text for people; None: the host gets the CLI's events."""
        self.on_activity: Callable[[], None] = _ignore
        """Called after each block of output that was made readable."""
        self.host_failures = HostFailures()
        self.last_output: float | None = None
        """Time of the agent's last output on the event loop's clock."""

    async def status(self, text: str) -> None:
        """Send one line of the adapter itself, as a separate chunk."""
        await self._send_own("stdout", _one_line(text))

    async def warn(self, text: str) -> None:
        await self._send_own("stderr", _one_line(text))

    async def output(self, stream: LogStreamName, block: bytes) -> None:
        """Send whole lines of the agent, in chunks up to the host's limit; one longer line may exceed it."""
        self.last_output = loop_time()
        if stream == "stdout" and self.readable is not None:
            block = await _as_text(self.readable, block)
            self.on_activity()
        await self._send_lines(stream, block)

    async def end_output(self, usage: RunUsage) -> None:
        """The agent's output is complete. `usage`: what the agent used, as far as it is known."""
        if self.readable is not None:
            await self._send_lines("stdout", self.readable.end(usage).encode())

    async def _send_lines(self, stream: LogStreamName, block: bytes) -> None:
        for chunk in chunks_of_lines(block, self._chunk_bytes, LINE_BYTES):
            await self._send(stream, chunk.decode("utf-8", "replace"))

    async def _send_own(self, stream: LogStreamName, line: str) -> None:
        self._journal.status(stream, line)
        self.events.emit(RunStatus, line, warning=stream == "stderr")
        await self._send(stream, f"{PREFIX}{line}\n")

    async def _send(self, stream: LogStreamName, text: str) -> None:
        async with self._lock:
            with catch_host_errors(self._on_error):
                await self._on_log(stream, text.replace("\0", REPLACEMENT))

    def _on_error(self, error: Exception) -> None:
        text = mask_values(error_text(error), bearer_tokens(self._ctx))
        if not self.host_failures.chunks:
            _log.warning("onLog of run %s raised %s; the run goes on", self._ctx.run_id, text)
        self.host_failures = self.host_failures.with_one_more(text)


def _ignore() -> None:
    """The default callback: does nothing."""


async def _as_text(readable: ReadableOutput, block: bytes) -> bytes:
    """The block as text for people; unchanged, if that fails because of a bug: no output may be lost."""
    try:
        return (await readable.text_of(block)).encode("utf-8", "replace")
    except Exception:  # noqa: BLE001  # a bug
        _log.exception("%d bytes of output could not be made readable", len(block))
        return block


def chunks_of_lines(block: bytes, limit: int, line_limit: int) -> Iterator[bytes]:
    """Split a block at line ends into pieces of at most `limit` bytes.

    A longer line is a piece of its own; if it is longer than `line_limit`, it is split between characters.
    Joined, the pieces equal the block.
    """
    start = 0
    while start < len(block):
        end = len(block) if len(block) - start <= limit else block.rfind(b"\n", start, start + limit) + 1
        if not end:
            end = block.find(b"\n", start + limit) + 1 or len(block)
        if end - start > max(limit, line_limit):
            end = _character_start(block, start + line_limit)
        yield block[start:end] if end - start < len(block) else block  # without a copy
        start = end


def _character_start(block: bytes, at: int) -> int:
    """The offset at or before `at` at which a UTF-8 character starts; `at` if the text is not UTF-8."""
    return next((at - back for back in range(4) if block[at - back] & 0xC0 != 0x80), at)


def _one_line(text: str) -> str:
    """The text in one line, cut, and without control characters: it may quote the agent or an Event."""
    return neutral(" ".join(text[: LIMITS.text_chars].split("\n")).strip())
