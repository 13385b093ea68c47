"""Stops an agent that works on although its known cost has passed the limit.

The cost is known only from results. An agent that printed its last result is not stopped: it exits by itself,
and its work is done.
"""

from collections.abc import Callable

from paperclip_claude_k8s.claude import StreamReader


class CostLimit:
    """Looks at the agent's output. Call `check` after each block."""

    def __init__(self, limit: float, *, resumed: bool, on_cost: Callable[[float], None]) -> None:
        """`limit`: in US dollars. `on_cost` gets a higher cost at each check while the agent works on."""
        self._limit = limit
        self._resumed = resumed
        self._on_cost = on_cost
        self._result: bytes | None = None
        """The last result whose cost was examined."""
        self._cost = 0.0

    def check(self, reader: StreamReader) -> None:
        """Examine a new result; report its cost if it is too high and the agent works on."""
        if reader.result is not None and reader.result is not self._result:
            self._result = reader.result
            self._cost = reader.usage.reported.for_run(resumed=self._resumed).cost_usd or 0.0
        if self._cost > self._limit and reader.allowed_silence() is None:
            self._on_cost(self._cost)
