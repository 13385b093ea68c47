"""The looks of a waiting shell: told in samples, counted, and after too many failures the last ones."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain

from paperclip_claude_k8s.base.aio import FirstResult
from paperclip_claude_k8s.cli.live import Live
from paperclip_claude_k8s.cli.runs.poll_schedule import Schedule, Tuning, is_told
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cluster.port import ClusterError


class Poller:
    """One wait's looks, whatever is looked at. `over` hears why the wait ends, if the looks end it."""

    def __init__(self, run_id: str, schedule: Schedule, tuning: Tuning, live: Live) -> None:
        self.over: FirstResult[Stop] = FirstResult()
        self._run_id = run_id
        self._schedule = schedule
        self._tuning = tuning
        self._live = live
        self._waits = chain([0.0], schedule.waits())
        self._look = 0
        self._failed = 0
        self._word = "PENDING"

    async def go_on(self, query: Callable[[], Awaitable[str]]) -> None:
        """Look until the schedule or the patience is used up; may be called again with another query."""
        for pause in self._waits:
            await asyncio.sleep(pause)
            self._look += 1
            if not await self._succeeds(query):
                return
            self.tell(self._word, last=self._look == self._schedule.count)
        self.over.offer(Stop("poll_timeout", f"no end after {self._look} looks; the run goes on"))

    def tell(self, word: str, *, last: bool, final: bool = False) -> None:
        """One line in the manner of seed 001, if this look is told; `final`: the run has ended."""
        if self._tuning.progress and is_told(max(self._look, 1), last=last):
            elapsed = f"[{int(self._live.elapsed())}s]"
            of = f"/{self._schedule.count}" if self._schedule.count else ""
            look = f"  look={self._look}{of}" if self._look and not final else ""
            self._live.progress(
                f"  {elapsed:<5} run={self._run_id}  status={word}  lines={self._live.lines}{look}"
            )

    async def _succeeds(self, query: Callable[[], Awaitable[str]]) -> bool:
        """Whether to go on looking: the answer is the new word, or one failure more."""
        try:
            self._word = await query()
        except ClusterError as error:
            self._failed += 1
            if self._failed >= self._tuning.errors:
                why = f"{self._failed} looks in a row failed, the last one with: {error}; the run goes on"
                self.over.offer(Stop("poll_aborted", why))
                return False
        else:
            self._failed = 0
        return True
