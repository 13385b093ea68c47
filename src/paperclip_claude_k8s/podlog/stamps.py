"""Timestamps as the kubelet writes them in front of log text, as integer nanoseconds since 1970 in UTC.

The kubelet prints the zone of its node and nine digits of fraction; older ones print fewer. Text would not
compare across zones and a float would lose nanoseconds, hence integers.
"""

import re
from datetime import datetime
from functools import lru_cache

NANO = 1_000_000_000
STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
SECOND_BYTES = 20
"""Length of the part of a stamp that lines of one second share: the date, the time and the dot."""


@lru_cache(maxsize=256)
def _second(text: bytes, zone: bytes) -> int:
    iso = (text + (b"+00:00" if zone == b"Z" else zone)).decode()
    return int(datetime.fromisoformat(iso).timestamp())


def moment(stamp: re.Match[bytes]) -> int | None:
    """Nanoseconds of a stamp that was matched; None when its digits are no date."""
    text, fraction, zone = stamp.groups()
    try:
        second = _second(text, zone)
    except ValueError:
        return None
    return second * NANO + int((fraction or b"0").ljust(9, b"0"))


def read_stamp(raw: bytes, at: int = 0) -> tuple[int, int] | None:
    """The time at this place of a raw line and where the text behind it begins; None where no stamp is."""
    stamp = STAMP.match(raw, at)
    if stamp is None:
        return None
    time = moment(stamp)
    return None if time is None else (time, stamp.end())
