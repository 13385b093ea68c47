"""How long to wait for the exit of an agent that has printed its final result (`resultGraceSec`).

The time counts from the agent's last output. While no stream of its log is open, silence proves nothing, so
the agent is stopped only after a stream was open for `MIN_STREAM_SECONDS`.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from paperclip_claude_k8s.base.aio import loop_time
from paperclip_claude_k8s.claude import StreamReader

RETRY_INTERVAL = 15.0
"""Seconds until the next check if the API server cannot be reached or no stream of the log is open."""
MIN_STREAM_SECONDS = 5.0
"""Seconds in which a new stream delivers what the agent printed while no stream was open."""
TIMER_SLACK = 0.01
"""Seconds by which a timer may be early."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What an exit wait reads of the agent, and how the wait stops the agent."""

    allowed_silence: Callable[[], float | None]
    """As `StreamReader.allowed_silence`."""
    is_running: Callable[[], Awaitable[bool | None]]
    """Whether the agent runs, by a direct read; None: the read failed."""
    stop: Callable[[], None]


class ExitWait:
    """Stops an agent whose exit is overdue.

    The wait for an open background task has no limit other than `timeoutSec`. If the agent scheduled a
    wake-up, the grace period begins when the wake-up is overdue, even if the agent does not wake up: a
    wake-up may be late by `WAKE_UP_LATENESS` (`claude/open_work.py`).
    """

    def __init__(self, agent: Agent, grace: float) -> None:
        self._agent = agent
        self._grace = grace
        self._last_output = loop_time()
        self._wake_up_due = -math.inf
        self._open_streams = 0
        self._opened_at = math.inf

    def stream_opened(self) -> None:
        self._open_streams += 1
        self._opened_at = loop_time()

    def stream_closed(self) -> None:
        self._open_streams -= 1

    def output_received(self, reader: StreamReader) -> float | None:
        """Note that the agent printed something. Returns the seconds until its exit is overdue.

        None: the agent may stay silent for any time.
        """
        self._last_output = loop_time()
        delay = reader.open_work.take_wake_up()  # 0: the agent cancelled its wake-ups
        if delay is not None:
            self._wake_up_due = max(self._wake_up_due, self._last_output + delay) if delay else -math.inf
        return self._seconds_left()

    async def check(self) -> float | None:
        """Stop the agent if its exit is overdue; otherwise return the seconds until the next check.

        None: the next output decides, or nothing is left to check.
        """
        left = self._seconds_left()
        if left is None or left > 0:
            return left
        is_running = await self._agent.is_running()
        left = self._seconds_left()  # output may have arrived during the read
        if left is None or left > 0:
            return left
        if is_running is None or not self._open_streams:
            return RETRY_INTERVAL
        until_caught_up = self._opened_at + MIN_STREAM_SECONDS - loop_time()
        if until_caught_up > TIMER_SLACK:
            return until_caught_up
        if is_running:
            self._agent.stop()
        return None

    def _seconds_left(self) -> float | None:
        silence = self._agent.allowed_silence()
        if silence is None:
            return None
        left = max(self._last_output + silence, self._wake_up_due) + self._grace - loop_time()
        return left if left > TIMER_SLACK else 0.0
