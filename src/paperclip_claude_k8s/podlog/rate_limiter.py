"""One limit on the repeated log requests of all followers of a process.

When the API server comes back after an outage, a thousand followers reconnect at once. The limiter lets a
burst through immediately and spreads the rest.
"""

import asyncio

from paperclip_claude_k8s.base.aio import loop_time


class RateLimiter:
    """A token bucket shared by all followers. Permits are granted in the order of the calls."""

    def __init__(self, *, per_second: float = 200.0, burst: int = 200) -> None:
        self._step = 1.0 / per_second
        self._slack = (burst - 1) * self._step
        self._next = float("-inf")
        """Loop time from which the next permit is due at `per_second`. The longer ago that is, the more
        permits are granted at once, up to `burst`."""

    async def acquire(self) -> None:
        """Wait until another request is allowed."""
        now = loop_time()
        permitted_at = max(self._next, now - self._slack)
        self._next = permitted_at + self._step
        if permitted_at > now:
            await asyncio.sleep(permitted_at - now)
