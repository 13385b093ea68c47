"""One cap on reconnects for all followers of a process: an outage must not become a stampede."""

import asyncio


class RateLimiter:
    """A token bucket that all followers share. Turns are given in the order asked for."""

    def __init__(self, *, per_second: float = 200.0, burst: int = 200) -> None:
        self._step = 1.0 / per_second
        self._slack = (burst - 1) * self._step
        self._next = float("-inf")

    async def turn(self) -> None:
        """Wait until another request is allowed."""
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now - self._slack)
        self._next = mine + self._step
        if mine > now:
            await asyncio.sleep(mine - now)
