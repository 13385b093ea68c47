"""The state of the usage limits, from `rate_limit_event` events.

A subscription has several limits (*windows*: five hours, seven days, seven days of one model). Each event
reports the state of one window. Only a window that rejects requests blocks the agent, until it resets:

    five_hour rejected, resets 15:00; seven_day allowed_warning, resets Friday      blocked until 15:00
    five_hour rejected, resets 15:00; seven_day rejected, resets Friday             blocked until Friday
"""

from paperclip_claude_k8s.base.json_readers import get_number
from paperclip_claude_k8s.claude.events import Event, get_name
from paperclip_claude_k8s.claude.reset_times import time_of_epoch

MAX_WINDOWS = 50
"""Largest number of windows that are remembered; the CLI knows about ten."""


class RateLimits:
    """The last state of each window."""

    def __init__(self) -> None:
        self._rejected: dict[str, float | None] = {}
        """Window that rejects requests → when it resets, in epoch seconds; None if that is unknown."""

    @property
    def blocked_until(self) -> float | None:
        """When the last of the windows that reject requests resets, in epoch seconds.

        None if no window rejects requests, or if the reset time of none of them is known.
        """
        return max((resets for resets in self._rejected.values() if resets is not None), default=None)

    def add(self, info: Event) -> None:
        """Take a `rate_limit_info`."""
        window = get_name(info, "rateLimitType")
        self._rejected.pop(window, None)
        if info.get("status") == "rejected" and len(self._rejected) < MAX_WINDOWS:
            resets = get_number(info, "resetsAt")
            self._rejected[window] = resets if time_of_epoch(resets) is not None else None
