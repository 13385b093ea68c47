"""An agent that printed its final result and does not exit: how long it is waited for (`resultGraceSec`)."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from paperclip_claude_k8s.claude import StreamReader

LOOK_AGAIN = 15.0
"""Seconds until the next try where the API server or the log cannot be heard."""
LISTENED = 5.0
"""Seconds that a stream of the log must be open: what the agent printed while there was none comes first."""
EARLY = 0.01
"""Seconds that a timer may ring too early."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What an exit wait asks of the agent it waits for, and does to it."""

    allowed_silence: Callable[[], float | None]
    """As `StreamReader.allowed_silence`."""
    runs: Callable[[], Awaitable[bool | None]]
    """Whether it still runs, by a direct look; None: it could not be seen."""
    stop: Callable[[], None]


class ExitWait:
    """Counts from the last output that was heard, and stops an agent whose exit is overdue.

    A background task that is open is waited for without bound; only `timeoutSec` ends that. A wake-up is
    waited for until its time, then the grace begins: one that never comes costs no more than that.
    """

    def __init__(self, agent: Agent, grace: float) -> None:
        self._agent = agent
        self._grace = grace
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
        """Stop the agent if its exit is overdue; else seconds until the next check.

        None: the next output decides, or there is nothing more to check.
        """
        left = self._left()
        if left is None or left > 0:
            return left
        runs = await self._agent.runs()
        left = self._left()  # it may have been heard meanwhile
        if left is None or left > 0:
            return left
        if runs is None or not self._streams:
            return LOOK_AGAIN
        to_listen = self._opened + LISTENED - _clock()
        if to_listen > EARLY:
            return to_listen
        if runs:
            self._agent.stop()
        return None

    def _left(self) -> float | None:
        silence = self._agent.allowed_silence()
        if silence is None:
            return None
        left = max(self._last_output + silence, self._wake_up_due) + self._grace - _clock()
        return left if left > EARLY else 0.0


def _clock() -> float:
    return asyncio.get_running_loop().time()
