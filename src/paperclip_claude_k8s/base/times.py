"""Times as text: RFC 3339 in UTC, as Kubernetes and the Paperclip host write them."""

from datetime import UTC, datetime

NANO = 1_000_000_000
"""Nanoseconds in a second. Times of log lines are whole nanoseconds since 1970: a float would round them."""


def parse_time(text: object) -> datetime | None:
    """Read an RFC 3339 time; without a zone it is read as UTC. None if it is missing or cannot be read."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def format_time(time: datetime, timespec: str = "milliseconds") -> str:
    """Write a UTC time with `Z`. The Paperclip host writes milliseconds; Leases need "microseconds"."""
    return time.isoformat(timespec=timespec).replace("+00:00", "Z")


def format_nanoseconds(nanoseconds: int) -> str:
    """Write nanoseconds since 1970 as an RFC 3339 time with nine fraction digits, e.g. for `sinceTime`."""
    seconds, rest = divmod(nanoseconds, NANO)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
