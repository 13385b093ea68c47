"""Over a place where the server lost lines: what the relay's file has is put in order, the rest is told."""

from paperclip_claude_k8s.podlog.backfill import Backfill
from paperclip_claude_k8s.podlog.deliverer import Delivery
from paperclip_claude_k8s.podlog.log_lines import Run, first_line
from paperclip_claude_k8s.podlog.marks import Bookmark, Stdout


class GapResolver:
    """Takes the first lines after a loss, until it is clear what was lost."""

    def __init__(self, delivery: Delivery, backfill: Backfill | None, *, counted: bool) -> None:
        """`counted`: there is a relay, whose next count will tell how much was lost."""
        self.over = False
        self._delivery = delivery
        self._mender = backfill
        self._counted = counted
        self.since = delivery.trail.last_time
        """Time of the last line before the loss."""

    async def take(self, run: Run) -> Run | None:
        """Deal with the first lines after the loss; what is left of the run goes the usual way."""
        rest: Run | None = run
        while rest is not None and not self.over:
            rest = await self._first_of(rest)
        return rest

    async def _first_of(self, run: Run) -> Run | None:
        match next(self._delivery.marks.parts(run.text), None):
            case Stdout(block, _):
                self.over = True
                return await self._stdout(run, block)
            case Bookmark() as bookmark:
                self.over = True
                if self._mender:
                    await self._mender.fill_to(bookmark, self.since, run.first().time)
                return run  # the bookmark itself tells what is missing still
            case _:  # a line of stderr tells nothing about stdout
                await self._delivery.accept(run.only_first())
                return run.after(1)

    async def _stdout(self, run: Run, block: bytes) -> Run | None:
        first = run.first()
        if self._delivery.trail.ends_with(first):
            self._delivery.trail.add(run.only_first())
            return run.after(1)
        line = first_line(block)
        headless = self._delivery.is_torn(line)
        place = await self._mender.find(block, line if headless else None) if self._mender else None
        if place and self._mender and await self._mender.fill(place.stop, self.since, first.time):
            headless = not place.before
        else:
            self._delivery.ledger.suspect(self.since, first.time)
            if not self._counted:
                await self._delivery.tell(self._delivery.ledger.concede())
        if not headless:
            return run
        self._delivery.trail.add(run.only_first())
        return run.after(1)
