"""The time that blocking work in a thread may take.

A thread cannot be ended from outside, so the work itself checks whether the time is over.
"""

import time
from dataclasses import dataclass, field


class TakesTooLong(Exception):
    """The work has reached its deadline."""


@dataclass(slots=True)
class WorkLimit:
    """A deadline for work, `seconds` from now. Another thread may shorten it while the work goes on."""

    seconds: float
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    def shorten(self, seconds: float) -> None:
        """Leave the work at most this many seconds from now on."""
        self._until = min(self._until, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._until - time.monotonic()

    def check(self) -> None:
        """Raise `TakesTooLong` if the time is over."""
        if self.left < 0:
            raise TakesTooLong
