import pytest

from paperclip_claude_k8s.podlog.log_lines import read_stamp

MOMENT = 1_790_000_000_123_456_789


@pytest.mark.parametrize(
    "raw",
    [
        b"2026-09-21T14:13:20.123456789Z text",
        b"2026-09-21T17:13:20.123456789+03:00 text",
        b"2026-09-21T04:43:20.123456789-09:30 text",
    ],
)
def test_stamp_time_is_independent_of_zone(raw: bytes) -> None:
    time, start = read_stamp(raw) or (0, 0)
    assert time == MOMENT
    assert raw[start:] == b"text"


@pytest.mark.parametrize(
    ("fraction", "nanoseconds"), [(b"", 0), (b".5", 500_000_000), (b".000000001", 1), (b".120", 120_000_000)]
)
def test_stamp_may_have_any_number_of_fraction_digits(fraction: bytes, nanoseconds: int) -> None:
    stamp = read_stamp(b"2026-09-21T14:13:20" + fraction + b"Z ")
    assert stamp is not None
    assert stamp[0] == 1_790_000_000_000_000_000 + nanoseconds


@pytest.mark.parametrize(
    "raw",
    [
        b"unable to retrieve container logs for containerd://0123",
        b'{"kind":"Status","status":"Failure"}',
        b"2026-09-21 14:13:20.123456789Z text",
        b"2026-13-21T14:13:20.123456789Z no such month",
        b"2026-09-21T14:13:20.123456789Z",
        b"",
    ],
)
def test_other_text_has_no_stamp(raw: bytes) -> None:
    assert read_stamp(raw) is None
