"""When a limit resets, out of the CLI's sentence.

"resets 3pm (Europe/Zurich)", "resets Oct 6, 10am", "usage limit reached|1893456000" (seconds since 1970).
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_RESETS = re.compile(
    r"resets\s+(?:(?P<month>[A-Z][a-z]{2})\s+(?P<day>\d{1,2}),?\s+(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>am|pm)\b\s*(?:\((?P<zone>[^)]+)\))?",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"limit reached\|(\d{9,11})\b", re.IGNORECASE)
ZONE = "UTC"
"""Of a time without one: older versions print the container's, and containers keep UTC."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def reset_time(text: str, now: datetime) -> datetime | None:
    """The next such moment after `now`, in UTC; None where the text names none or an unknown zone."""
    if epoch := _EPOCH.search(text):
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    found = _RESETS.search(text)
    if found is None:
        return None
    try:
        local = now.astimezone(ZoneInfo((found["zone"] or ZONE).strip()))
        hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "pm" else 0)
        moment = local.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
        if found["month"]:
            moment = moment.replace(month=_MONTHS.index(found["month"].lower()) + 1, day=int(found["day"]))
            if moment < local - timedelta(days=180):
                moment = moment.replace(year=moment.year + 1)
    except (KeyError, ValueError, OSError):
        return None
    if not found["month"] and moment <= local:
        moment += timedelta(days=1)
    return moment.astimezone(UTC)
