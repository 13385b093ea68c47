"""An agent that printed its final result and does not exit: how long it is waited for (`resultGraceSec`)."""

import asyncio
import math
from collections.abc import Callable

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.informer import Vigil
from paperclip_claude_k8s.cluster.port import Cluster
from paperclip_claude_k8s.run.listen import Ears
from paperclip_claude_k8s.run.look import look
from paperclip_claude_k8s.verdict.ending import judge_ending

LOOK_AGAIN = 15.0
"""Seconds until the next try where the API server or the log cannot be heard."""
LISTENED = 5.0
"""Seconds that a stream of the log must be open: what the agent printed while there was none comes first."""
EARLY = 0.01
"""Seconds that a timer may ring too early."""


class ExitWait:
    """Counts from the last output that was heard; `stop` is called once, when the exit is overdue.

    A background task that is open is waited for without bound; only `timeoutSec` ends that. A wake-up is
    waited for until its time, then the grace begins: one that never comes costs no more than that.
    """

    def __init__(
        self, ears: Ears, vigil: Vigil, cluster: Cluster, grace: float, stop: Callable[[], None]
    ) -> None:
        self._ears = ears
        self._vigil = vigil
        self._cluster = cluster
        self._grace = grace
        self._stop = stop
        self._last_output = _clock()
        self._wake_up_due = -math.inf
        self._streams = 0
        self._opened = math.inf

    def stream_opened(self) -> None:
        self._streams += 1
        self._opened = _clock()

    def stream_closed(self) -> None:
        self._streams -= 1

    def heard(self, reader: StreamReader) -> float | None:
        """The agent printed something: seconds until its exit is overdue, None while it may go on."""
        self._last_output = _clock()
        asked = reader.open_work.take_wake_up()
        if asked is not None:
            self._wake_up_due = max(self._wake_up_due, self._last_output + asked) if asked else -math.inf
        return self._left()

    async def check(self) -> float | None:
        """Stop the agent if its exit is overdue; else seconds until the next check, or None until output."""
        left = self._left()
        if left is None or left > 0:
            return left
        seen = await look(self._vigil, self._cluster)
        left = self._left()  # it may have been heard meanwhile
        if left is None or left > 0:
            return left
        listened = self._streams > 0 and _clock() - self._opened >= LISTENED
        if not (seen and listened):
            return LOOK_AGAIN
        if judge_ending(self._vigil.known) is None:
            self._stop()
        return None

    def _left(self) -> float | None:
        silence = self._ears.allowed_silence()
        if silence is None:
            return None
        left = max(self._last_output + silence, self._wake_up_due) + self._grace - _clock()
        return left if left > EARLY else 0.0


def _clock() -> float:
    return asyncio.get_running_loop().time()
