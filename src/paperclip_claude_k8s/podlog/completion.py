"""After the container has terminated: read what is left, and say how complete the log is."""

import asyncio

from paperclip_claude_k8s.podlog.backfill import Backfill
from paperclip_claude_k8s.podlog.connection import Pass, Session
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.log_report import FileUnusable, LogReport
from paperclip_claude_k8s.podlog.position import EVER

CHEAP = 4 * 1024 * 1024
"""A log of so few bytes is read once more in full where lines with early times may have been left out."""
EMPTY_READS = 2
"""Empty answers of a log of which nothing was ever seen, after which it counts as empty."""
GONE_AFTER = 2
"""Answers 404 in a row after which a log is gone, with its Pod."""


class Completion:
    """Reads on until nothing new comes, the relay's totals are met, or the log is gone."""

    def __init__(
        self,
        session: Session,
        delivery: Delivery,
        origin: SourceInfo,
        pace: FollowTimings,
        backfill: Backfill | None,
    ) -> None:
        self._session = session
        self._delivery = delivery
        self._origin = origin
        self._pace = pace
        self._mender = backfill
        self._torso = b""
        self._empty = 0
        self._file_trouble: str | None = None

    async def run(self, *, may_hide: bool, cut_short: bool) -> None:
        """Complete the log, and say so where the relay's file was of no use.

        `may_hide`: the last stream may have left out lines with early times. `cut_short`: it did not come to
        an end of its own, so that stderr may be missing even where stdout is proven.
        """
        await self._complete(may_hide=may_hide, cut_short=cut_short)
        if self._mender is None:
            return
        self._file_trouble = await self._mender.trouble(self._origin.expected())
        if self._file_trouble is not None:
            await self._delivery.tell(FileUnusable(self._file_trouble))

    async def _complete(self, *, may_hide: bool, cut_short: bool) -> None:
        if self._session.proven() and not cut_short:
            return
        if not cut_short:
            self._session.excuse()
        totals = self._origin.expected()
        ended_well = not (cut_short or totals)
        if ended_well and self._delivery.ledger.bytes > CHEAP and await self._session.ends_as_delivered():
            await self._settle(read_all=True)
            return
        missed_and_small = totals is not None and not self._session.proven() and totals.bytes <= CHEAP
        read_all = await self._read_rest(EVER if missed_and_small else 0)
        cheap = may_hide and self._delivery.ledger.bytes <= CHEAP
        if read_all and not self._session.proven() and (cheap or totals):
            read_all = await self._read_rest(EVER)  # the node's clock may have been set back meanwhile
        if self._torso and not self._session.proven():
            await self._session.intake.last_words(self._torso)
        await self._settle(read_all=read_all)

    def report(self) -> LogReport:
        ledger, delivery = self._delivery.ledger, self._delivery
        untaken = delivery.sink_failures > 0
        proven = self._session.proven() and not untaken
        disproven = self._origin.expected() is not None or bool(ledger.gaps) or untaken
        return LogReport(
            complete=True if proven else False if disproven else None,
            bytes=ledger.bytes,
            lines=ledger.lines,
            reconnects=self._session.reconnects,
            gaps=tuple(ledger.gaps),
            sink_failures=delivery.sink_failures,
            first_sink_error=delivery.first_sink_error,
            sha256=ledger.sha256,
            file_trouble=self._file_trouble,
        )

    async def _read_rest(self, further_back: int) -> bool:
        """Read until a whole answer brings nothing new; False when the log could not be had to its end."""
        clock = asyncio.get_running_loop().time
        progress_at, self._torso, self._empty = clock(), b"", 0
        while True:
            read = await self._session.read_through(further_back)
            if self._session.proven() or (read.whole and self._is_end(read)):
                return True
            if read.whole and read.new:
                progress_at = clock()
            elif self._gone() or clock() - progress_at > self._pace.completion:
                return False
            else:
                await self._session.pause()

    def _is_end(self, read: Pass) -> bool:
        """Whether a bounded read shows that nothing is left. What could be a cut has to come out twice."""
        if not read.aligned:
            self._session.doubt()
            return False
        unchanged, self._torso = read.partial_line == self._torso, read.partial_line
        if read.new or (read.partial_line and not unchanged):
            return False
        self._empty += 1
        return self._delivery.trail.beginning is not None or self._empty == EMPTY_READS

    def _gone(self) -> bool:
        return self._session.missing_answers >= GONE_AFTER

    async def _settle(self, *, read_all: bool) -> None:
        """Fill what the file can fill, and tell what is missing."""
        if self._session.proven():
            return
        totals, ledger = self._origin.expected(), self._delivery.ledger
        if self._mender:
            await self._mender.finish(totals)
        if self._session.proven():
            return
        if not read_all or self._session.intake.lost:
            ledger.suspect(self._session.intake.sound_until, None)
        await self._delivery.tell(ledger.check(totals, None) if totals else ledger.concede())
