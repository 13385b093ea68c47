"""Everything that is sent to the host's log of a run, one call at a time."""

import asyncio
import logging
from collections.abc import Iterator

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.host.context import ExecutionContext, LogStreamName
from paperclip_claude_k8s.host.redact import mask_values
from paperclip_claude_k8s.plan.run_variables import bearer_tokens
from paperclip_claude_k8s.ports import NullJournal, RunJournal
from paperclip_claude_k8s.run.host_callbacks import host_errors_contained
from paperclip_claude_k8s.verdict.result_builder import HostFailures
from paperclip_claude_k8s.verdict.wording import error_text

PREFIX = "[paperclip] "
"""Beginning of every line of the adapter in the host's log."""
CHUNK_BYTES = 60 * 1024
"""Size limit for chunks of whole lines: the host truncates chunks of more than 64 Ki characters."""

_log = logging.getLogger("paperclip_claude_k8s")


class Narrator:
    """Serialises the calls of `onLog`: parallel calls could interleave.

    An exception in the callback does not end the run. The first one is logged, and every chunk that the host
    did not accept is counted for `resultJson.log`.

    The adapter's own lines also go to the journal, which can therefore tell them from the agent's output. In
    `onLog` both look alike, because an agent can print `PREFIX`, too.
    """

    def __init__(self, ctx: ExecutionContext, journal: RunJournal | None = None) -> None:
        self._on_log = ctx.on_log
        self._journal = journal or NullJournal()
        self._ctx = ctx
        self._lock = asyncio.Lock()
        self.host_failures = HostFailures()
        self.last_output: float | None = None
        """Time of the agent's last output on the event loop's clock."""

    async def status(self, text: str) -> None:
        """Send one line of the adapter itself, as a separate chunk."""
        await self._send_own("stdout", _one_line(text))

    async def warn(self, text: str) -> None:
        await self._send_own("stderr", _one_line(text))

    async def output(self, stream: LogStreamName, block: bytes) -> None:
        """Send whole lines of the agent in chunks that the host does not truncate unless a line is longer."""
        self.last_output = loop_time()
        for chunk in chunks_of_lines(block, CHUNK_BYTES):
            await self._send(stream, chunk.decode("utf-8", "replace"))

    async def _send_own(self, stream: LogStreamName, line: str) -> None:
        self._journal.status(stream, line)
        await self._send(stream, f"{PREFIX}{line}\n")

    async def _send(self, stream: LogStreamName, text: str) -> None:
        async with self._lock:
            with host_errors_contained(self._on_error):
                await self._on_log(stream, text)

    def _on_error(self, error: Exception) -> None:
        text = mask_values(error_text(error), bearer_tokens(self._ctx))
        if not self.host_failures.chunks:
            _log.warning("onLog of run %s raised %s; the run goes on", self._ctx.run_id, text)
        self.host_failures = self.host_failures.with_one_more(text)


def chunks_of_lines(block: bytes, limit: int) -> Iterator[bytes]:
    """Split a block at line ends into pieces of at most `limit` bytes; a longer line stays whole.

    Joined, the pieces equal the block. Every piece but the last ends with a newline.
    """
    start = 0
    while len(block) - start > limit:
        end = block.rfind(b"\n", start, start + limit) + 1
        if not end:
            end = block.find(b"\n", start + limit) + 1
        if not end:
            break
        yield block[start:end]
        start = end
    if start < len(block):
        yield block[start:] if start else block


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()
