"""One cap on reconnects for all followers of a process: an outage must not become a stampede."""

import asyncio
import random


class Governor:
    """A token bucket that all followers share, and their dice. Turns are given in the order asked for."""

    def __init__(self, *, per_second: float = 50.0, burst: int = 50, dice: random.Random | None = None) -> None:
        self._step = 1.0 / per_second
        self._slack = burst * self._step
        self._next = float("-inf")
        self._dice = dice or random.Random()  # noqa: S311 - jitter, not a secret

    async def turn(self) -> None:
        """Wait until another reconnect is allowed."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - self._slack) + self._step
        if self._next > now:
            await asyncio.sleep(self._next - now)

    def jitter(self, seconds: float) -> float:
        """Between half of `seconds` and all of it, so that followers cut at once do not return at once."""
        return seconds * self._dice.uniform(0.5, 1.0)
