"""From an open answer to the sink: what is new of each chunk, across losses."""

from paperclip_claude_k8s.podlog.crossing import Crossing
from paperclip_claude_k8s.podlog.delivery import Delivery
from paperclip_claude_k8s.podlog.feed import Feed
from paperclip_claude_k8s.podlog.origin import Origin
from paperclip_claude_k8s.podlog.records import Run


class Intake:
    """Takes chunks of one answer at a time."""

    def __init__(self, delivery: Delivery, origin: Origin) -> None:
        self._delivery = delivery
        self._origin = origin
        self._crossing: Crossing | None = None

    def begin(self, feed: Feed) -> None:
        """An answer was opened; its plan says whether lines were lost before it."""
        self._crossing = Crossing(self._delivery, self._origin) if feed.plan.lost else None

    async def take(self, feed: Feed, chunk: bytes) -> None:
        """Deliver what the chunk brings. Raises `Misaligned` before anything wrong is delivered."""
        for item in feed.new(chunk):
            if isinstance(item, Run):
                await self._run(item)
            else:
                await self._delivery.stray(item.text)

    async def _run(self, run: Run) -> None:
        rest: Run | None = run
        if self._crossing:
            rest = await self._crossing.take(run)
            if self._crossing.over:
                self._crossing = None
        if rest:
            await self._delivery.accept(rest)
