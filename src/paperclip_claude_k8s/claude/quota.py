"""When a limit resets, out of the CLI's sentence: "resets 3pm (Europe/Zurich)", "resets 11:06am (UTC)"."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_RESETS = re.compile(
    r"resets\s+(?:(?P<month>[A-Z][a-z]{2})\s+(?P<day>\d{1,2}),?\s+(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>am|pm)\s*\((?P<zone>[^)]+)\)",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def reset_time(text: str, now: datetime) -> datetime | None:
    """The next such moment after `now`, in UTC; None where the text names none or an unknown zone."""
    found = _RESETS.search(text)
    if found is None:
        return None
    try:
        local = now.astimezone(ZoneInfo(found["zone"].strip()))
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
