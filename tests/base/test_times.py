"""Times as text: reading and writing RFC 3339."""

from datetime import UTC, datetime

import pytest

from paperclip_claude_k8s.base.times import NANO, format_nanoseconds, format_time, parse_time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02T06:04:05+03:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        (7, None),
    ],
)
def test_parse_time_reads_any_fraction_and_zone(text: object, time: datetime | None) -> None:
    assert parse_time(text) == time


def test_format_time_writes_z_and_the_requested_precision() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC)
    assert format_time(time) == "2026-01-02T03:04:05.000Z"
    assert format_time(time, "microseconds") == "2026-01-02T03:04:05.000060Z"


def test_format_nanoseconds_keeps_all_nine_digits() -> None:
    assert format_nanoseconds(1_767_323_045 * NANO + 7) == "2026-01-02T03:04:05.000000007Z"
