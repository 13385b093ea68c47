"""Completes a log after the container has terminated, and judges whether it is complete.

The last stream usually delivered everything, but neither its end nor its silence proves that. In order of
preference, the proof is

1. the relay's totals are met: no further request;
2. no totals, a normal end of the stream, and a large log whose last lines are those delivered last;
3. a bounded read that contains everything delivered before and nothing new.

What is missing after that is read from the relay's file. What the file lacks too is reported as a gap.
"""

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.podlog.connection import BoundedRead, Connection
from paperclip_claude_k8s.podlog.follow_options import FollowTimings, SourceInfo
from paperclip_claude_k8s.podlog.log_report import FileUnusable, LogReport
from paperclip_claude_k8s.podlog.pipeline import Deliverer
from paperclip_claude_k8s.podlog.position import ENTIRE_LOG
from paperclip_claude_k8s.podlog.read_budget import USED_UP

SMALL_LOG = 4 * 1024 * 1024
"""Size in bytes up to which a log is read again in full if lines with early times may have been omitted."""
EMPTY_READS = 2
"""A log of which nothing was ever seen counts as empty after this many empty responses."""
AFTER_TIMEOUT = 0.1
"""The last attempt is made this many seconds after `FollowTimings.completion_timeout` has passed."""
GONE_AFTER = 2
"""After this many consecutive responses with status 404 the Pod counts as deleted, with its log."""


class Completion:
    """Reads until nothing new comes, the relay's totals are met, or the log was deleted."""

    def __init__(
        self, connection: Connection, deliverer: Deliverer, source_info: SourceInfo, timings: FollowTimings
    ) -> None:
        self._connection = connection
        self._deliverer = deliverer
        self._source_info = source_info
        self._timings = timings
        self._partial_line = b""
        self._empty_reads = 0
        self._file_trouble: str | None = None
        self._unread = ""

    async def run(self, *, may_omit_lines: bool, cut_short: bool) -> None:
        """Complete the log, and report if the relay's file was unusable.

        `may_omit_lines`: the last stream may have omitted lines with early times. `cut_short`: that stream
        did not end normally, so lines of stderr may be missing even if the totals of stdout are met.
        """
        await self._complete(may_omit_lines=may_omit_lines, cut_short=cut_short)
        backfill = self._deliverer.backfill
        if backfill is None:
            return
        self._file_trouble = await backfill.why_unusable(self._source_info.expected_totals())
        if self._file_trouble is not None:
            await self._deliverer.sink.notify(FileUnusable(self._file_trouble))

    async def _complete(self, *, may_omit_lines: bool, cut_short: bool) -> None:
        connection, counts = self._connection, self._deliverer.counts
        if connection.matches_totals() and not cut_short:
            return
        if not cut_short:
            connection.reset_backoff()
        totals = self._source_info.expected_totals()
        ended_without_totals = totals is None and not cut_short
        if ended_without_totals and counts.bytes > SMALL_LOG and await connection.ends_as_delivered():
            await self._finish(read_all=True)
            return
        reread = totals is not None and not connection.matches_totals() and totals.bytes <= SMALL_LOG
        read_all = await self._read_rest(ENTIRE_LOG if reread else 0)
        may_have_more = totals is not None or (may_omit_lines and counts.bytes <= SMALL_LOG)
        if read_all and not connection.matches_totals() and may_have_more:
            # new lines have early times if the node's clock was set back
            read_all = await self._read_rest(ENTIRE_LOG)
        if self._partial_line and not connection.matches_totals():
            await connection.pipeline.take_last_line(self._partial_line)
        await self._finish(read_all=read_all)

    async def _finish(self, *, read_all: bool) -> None:
        if not self._connection.matches_totals():
            why = USED_UP if self._connection.budget.is_used_up else self._connection.last_error
            self._unread = "" if read_all else why
            totals = self._source_info.expected_totals()
            await self._connection.pipeline.finish(totals, read_all=read_all, unread=self._unread)

    def report(self) -> LogReport:
        counts, sink, backfill = self._deliverer.counts, self._deliverer.sink, self._deliverer.backfill
        totals = self._source_info.expected_totals()
        proven = self._connection.matches_totals() and not sink.failures
        disproven = bool(totals or counts.gaps or sink.failures)
        return LogReport(
            complete=True if proven else False if disproven else None,
            bytes=counts.bytes,
            lines=counts.lines,
            reconnects=self._connection.reconnects,
            gaps=tuple(counts.gaps),
            sink_failures=sink.failures,
            first_sink_error=sink.first_error,
            sha256=counts.sha256,
            unread=self._unread,
            file_trouble=self._file_trouble,
            filled=sink.filled,
            unproven=backfill.unproven if backfill is not None and totals is None else 0,
        )

    async def _read_rest(self, further_back: int) -> bool:
        """Read until a whole response has nothing new. False: the log could not be read to its end.

        `further_back`: seconds by which the responses start earlier than usual.
        """
        progress_at, self._partial_line, self._empty_reads = loop_time(), b"", 0
        while not self._connection.budget.is_used_up:
            read = await self._connection.read_through(further_back)
            if self._connection.matches_totals() or (read.whole and self._is_end(read)):
                return True
            if self._source_info.goes_on and read.whole and read.aligned:
                return True
            seconds_left = progress_at + self._timings.completion_timeout - loop_time()
            if read.whole and read.new:
                progress_at = loop_time()
            elif self._is_deleted() or seconds_left < 0:
                return False
            else:
                await self._connection.pause(at_most=seconds_left + AFTER_TIMEOUT)
        return False

    def _is_end(self, read: BoundedRead) -> bool:
        """Whether a bounded read shows that the log has nothing more. If it is not aligned, force a scan.

        An empty log, or a partial last line, must be read twice: the response may have been cut.
        """
        if not read.aligned:
            self._connection.force_rescan()
            return False
        unchanged, self._partial_line = read.partial_line == self._partial_line, read.partial_line
        if read.new or (read.partial_line and not unchanged):
            return False
        self._empty_reads += 1
        return self._deliverer.position.beginning is not None or self._empty_reads == EMPTY_READS

    def _is_deleted(self) -> bool:
        return self._connection.not_found >= GONE_AFTER
