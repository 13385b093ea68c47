"""Everything the host hears of a run, one voice at a time."""

import asyncio
import logging
from collections.abc import Iterator

from paperclip_claude_k8s.host.context import ExecutionContext, LogStreamName
from paperclip_claude_k8s.host.redact import mask_values
from paperclip_claude_k8s.plan.run_variables import bearer_tokens
from paperclip_claude_k8s.run.host_callbacks import host_errors_contained
from paperclip_claude_k8s.verdict.result_builder import HostFailures
from paperclip_claude_k8s.verdict.wording import error_text

PREFIX = "[paperclip] "
CHUNK_BYTES = 60 * 1024
"""The host shortens chunks above 64 Ki characters (HOST.md 3.2); whole lines are packed up to this."""

_log = logging.getLogger("paperclip_claude_k8s")


class Narrator:
    """Serialises `onLog`: parallel calls could interleave (HOST.md 3.2).

    A host that raises never ends a run: the first error goes to the process's log, and every chunk that was
    not taken is counted, for `resultJson.log`.
    """

    def __init__(self, ctx: ExecutionContext) -> None:
        self._on_log = ctx.on_log
        self._ctx = ctx
        self._turn = asyncio.Lock()
        self.untaken = HostFailures()
        self.last_output: float | None = None

    async def status(self, text: str) -> None:
        """One line of the adapter's own, as a chunk of its own."""
        await self._say("stdout", f"{PREFIX}{_one_line(text)}\n")

    async def warn(self, text: str) -> None:
        await self._say("stderr", f"{PREFIX}{_one_line(text)}\n")

    async def output(self, stream: LogStreamName, block: bytes) -> None:
        """Whole lines of the agent, cut into chunks the host takes unshortened wherever lines allow."""
        self.last_output = asyncio.get_running_loop().time()
        for chunk in chunks_of_lines(block, CHUNK_BYTES):
            await self._say(stream, chunk.decode("utf-8", "replace"))

    async def _say(self, stream: LogStreamName, text: str) -> None:
        async with self._turn:
            with host_errors_contained(self._not_taken):
                await self._on_log(stream, text)

    def _not_taken(self, error: Exception) -> None:
        told = mask_values(error_text(error), bearer_tokens(self._ctx))
        if not self.untaken.chunks:
            _log.warning("onLog of run %s raised %s; the run goes on", self._ctx.run_id, told)
        self.untaken = self.untaken.and_one(told)


def chunks_of_lines(block: bytes, limit: int) -> Iterator[bytes]:
    """Cut at line ends into pieces of at most `limit` bytes; a longer line stays whole.

    The pieces joined are the block; every piece but the last ends with a newline.
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
