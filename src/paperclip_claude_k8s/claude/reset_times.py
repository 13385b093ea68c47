"""When a usage limit resets: from the Claude CLI's events, else from its text. Pure functions.

Forms in texts: "resets 3pm (Europe/Zurich)", "resets Oct 6, 10am", "resets Jan 2, 2027, 1:31am (UTC)", "usage
limit reached|1893456000" (epoch seconds).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from paperclip_claude_k8s.base.json_readers import as_number

MAX_RESET_EPOCH = 4_102_444_800
"""2100-01-01 in epoch seconds; later times are not reset times."""
DEFAULT_ZONE = "UTC"
"""Assumed for a reset time without a time zone: older CLIs print local time, which is UTC in containers."""
OLDEST_DATE = timedelta(days=180)
"""If a date without a year lies further in the past than this, it is a date of the next year."""
_RESETS_AT = re.compile(
    r"resets\s+(?:(?P<month>[A-Z][a-z]{2})[a-z]{0,6}\s+(?P<day>\d{1,2})(?:,?\s+(?P<year>20\d{2}))?,?\s+(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>am|pm)\b\s*(?:\((?P<zone>[^)]+)\))?",
    re.IGNORECASE,
)
_RESET_EPOCH = re.compile(r"limit reached\|(\d{9,11})(?:\d{3})?\b", re.IGNORECASE)
"""Epoch seconds, or milliseconds."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def time_of_epoch(value: Any) -> datetime | None:  # noqa: ANN401  # any JSON value
    """A reset time in epoch seconds as a UTC time; None if it cannot be one."""
    seconds = as_number(value, None)
    return (
        datetime.fromtimestamp(seconds, UTC)
        if seconds is not None and 0 < seconds < MAX_RESET_EPOCH
        else None
    )


def reset_time(text: str, now: datetime) -> datetime | None:
    """The reset time that the text names, in UTC; None if it names no time, or an unknown time zone.

    A time without a date is the next such time after `now`. A date without a year is in the current year, or
    in the next year if it would otherwise be more than 180 days ago.
    """
    if epoch := _RESET_EPOCH.search(text):
        return time_of_epoch(int(epoch[1]))
    found = _RESETS_AT.search(text)
    if found is None:
        return None
    try:
        return _time_of(found, now)
    except (KeyError, ValueError, OSError, OverflowError):
        return None


def _time_of(found: re.Match[str], now: datetime) -> datetime:
    """The time of a match of `_RESETS_AT`. Raises if a part of the time is unknown or out of range."""
    local = now.astimezone(ZoneInfo((found["zone"] or DEFAULT_ZONE).strip()))
    if not 1 <= int(found["hour"]) <= 12:
        raise ValueError(found["hour"])
    hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "pm" else 0)
    resets = local.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
    if not found["month"]:
        return (resets if resets > local else resets + timedelta(days=1)).astimezone(UTC)
    month, day = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
    resets = resets.replace(year=int(found["year"] or local.year), month=month, day=day)
    if not found["year"] and resets < local - OLDEST_DATE:
        resets = resets.replace(year=resets.year + 1)
    return resets.astimezone(UTC)
