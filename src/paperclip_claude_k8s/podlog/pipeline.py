"""From an open answer to the sink: what is new of each chunk, across losses."""

from paperclip_claude_k8s.podlog.backfill import Backfill
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.follow_options import SourceInfo
from paperclip_claude_k8s.podlog.gaps import GapResolver
from paperclip_claude_k8s.podlog.log_lines import Run, UnstampedText, run_of
from paperclip_claude_k8s.podlog.log_stream import LogStream

APOLOGY = b"unable to retrieve container logs for "
"""Begin of the sentence that the kubelet puts into an answer, without a newline, when a log is gone."""


class Pipeline:
    """Takes chunks of one answer at a time."""

    def __init__(self, delivery: Delivery, origin: SourceInfo, backfill: Backfill | None) -> None:
        self._delivery = delivery
        self._origin = origin
        self._mender = backfill
        self._crossing: GapResolver | None = None
        self._latest: LogStream | None = None
        self._entered: LogStream | None = None

    def begin(self, feed: LogStream) -> None:
        """An answer was opened; its plan says whether lines were lost before what is new in it."""
        self._latest = feed

    async def take(self, feed: LogStream, chunk: bytes) -> None:
        """Deliver what the chunk brings. Raises `Misaligned` before anything wrong is delivered."""
        for item in feed.new(chunk):
            if isinstance(item, Run):
                rest = await self._cross(feed, item)
                if rest:
                    await self._delivery.accept(rest)
            else:
                await self._delivery.stray(item.text)

    @property
    def lost(self) -> bool:
        """Whether lines were lost and nothing came since that would tell how many."""
        unseen = self._latest is not None and self._latest is not self._entered and self._latest.plan.lost
        return self._crossing is not None or unseen

    @property
    def sound_until(self) -> int | None:
        """Time of the last line up to which nothing is known to be missing."""
        return self._crossing.since if self._crossing else self._delivery.trail.last_time

    async def last_words(self, partial_line: bytes) -> None:
        """Deliver the end of a log that has no newline, once it is known to be the end."""
        log, apology, rest = partial_line.partition(APOLOGY)
        if apology:
            await self._delivery.stray(apology + rest)
        end = run_of(log) if log else None
        if isinstance(end, UnstampedText):
            await self._delivery.stray(end.text)
        elif end and self._latest and await self._cross(self._latest, end):
            text = end.text[:-1]
            if text and self._delivery.marks.none_in(text):
                await self._delivery.logged(text, 1, end.first().time)

    async def _cross(self, feed: LogStream, run: Run) -> Run | None:
        """What is left to deliver of lines of this answer; the first ones may be those after a loss."""
        if feed.plan.lost and feed is not self._entered:
            self._entered = feed
            counted = self._origin.nonce is not None
            self._crossing = self._crossing or GapResolver(self._delivery, self._mender, counted=counted)
        if self._crossing is None:
            return run
        rest = await self._crossing.take(run)
        if self._crossing.over:
            self._crossing = None
        return rest
