"""From an open answer to the sink: what is new of each chunk, across losses."""

from paperclip_claude_k8s.podlog.crossing import Crossing
from paperclip_claude_k8s.podlog.delivery import Delivery
from paperclip_claude_k8s.podlog.feed import Feed
from paperclip_claude_k8s.podlog.mending import Mender
from paperclip_claude_k8s.podlog.origin import Origin
from paperclip_claude_k8s.podlog.records import Run, Stray, run_of
from paperclip_claude_k8s.podlog.resume import Misaligned

APOLOGY = b"unable to retrieve container logs for "
"""Begin of the sentence that the kubelet puts into an answer, without a newline, when a log is gone."""


class Intake:
    """Takes chunks of one answer at a time."""

    def __init__(self, delivery: Delivery, origin: Origin, mender: Mender | None) -> None:
        self._delivery = delivery
        self._origin = origin
        self._mender = mender
        self._crossing: Crossing | None = None
        self._before: Crossing | None = None

    def begin(self, feed: Feed) -> None:
        """An answer was opened; its plan says whether lines were lost before what is new in it."""
        self._before = self._crossing
        unseen = self._delivery.trail.beginning is None and self._origin.began_unseen and self._mender
        if self._crossing is None and (feed.plan.lost or unseen):
            counted = self._origin.nonce is not None
            self._crossing = Crossing(self._delivery, self._mender, counted=counted)

    async def take(self, feed: Feed, chunk: bytes) -> None:
        """Deliver what the chunk brings. Raises `Misaligned` before anything wrong is delivered."""
        try:
            for item in feed.new(chunk):
                if isinstance(item, Run):
                    await self._run(item)
                else:
                    await self._delivery.stray(item.text)
        except Misaligned:
            if not feed.brought_new:
                self._crossing = self._before  # nothing was lost after all
            raise

    @property
    def lost(self) -> bool:
        """Whether lines were lost and nothing came since that would tell how many."""
        return self._crossing is not None

    @property
    def sound_until(self) -> int | None:
        """Time of the last line up to which nothing is known to be missing."""
        return self._crossing.since if self._crossing else self._delivery.trail.last_time

    async def last_words(self, torso: bytes) -> None:
        """Deliver the end of a log that has no newline, once it is known to be the end."""
        log, apology, rest = torso.partition(APOLOGY)
        if apology:
            await self._delivery.stray(apology + rest)
        end = run_of(log) if log else None
        if isinstance(end, Stray):
            await self._delivery.stray(end.text)
        elif end and (self._crossing is None or await self._crossing.take(end)):
            self._crossing = None
            text = end.text[:-1]
            if text and self._delivery.marks.none_in(text):
                await self._delivery.stdout(text, 1)

    async def _run(self, run: Run) -> None:
        rest: Run | None = run
        if self._crossing:
            rest = await self._crossing.take(run)
            if self._crossing.over:
                self._crossing = None
        if rest:
            await self._delivery.accept(rest)
