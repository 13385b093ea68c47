"""Log responses are split into lines, whatever the chunks and the form of the stamps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.kubelet_log import NANO, stamp

from paperclip_claude_k8s.podlog.log_lines import (
    RECORD_BYTES,
    LineBatch,
    LineReader,
    UnstampedText,
    read_stamp,
)

TIME = 1_790_000_000 * NANO  # an arbitrary Unix time in nanoseconds
STAMP_TIME = 1_790_000_000_123_456_789
"""The time 2026-09-21T14:13:20.123456789Z."""
TEXTS = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b" "))


def read(block: bytes, cuts: list[int], limit: int = 10**6) -> list[LineBatch | UnstampedText]:
    """The items of a block that arrives in chunks. `cuts`: where chunks end, modulo the block's size."""
    reader, out, start = LineReader(limit), [], 0
    for cut in [*sorted(cut % (len(block) + 1) for cut in cuts), len(block)]:
        out += reader.feed(block[start:cut])
        start = cut
    return out


def texts(items: list[LineBatch | UnstampedText]) -> bytes:
    return b"".join(item.text for item in items if isinstance(item, LineBatch))


@given(st.lists(st.tuples(st.integers(0, 3 * NANO), TEXTS)), st.lists(st.integers(0, 2000)))
def test_any_chunking_gives_the_same_lines(lines: list[tuple[int, bytes]], cuts: list[int]) -> None:
    block = b"".join(stamp(TIME + time) + text + b"\n" for time, text in lines)
    items = read(block, cuts)
    assert texts(items) == b"".join(text + b"\n" for _, text in lines)
    keys = [key.time for item in items if isinstance(item, LineBatch) for key in item.line_keys()]
    assert keys == [TIME + time for time, _ in lines]


@given(st.integers(1, 5 * RECORD_BYTES), st.booleans(), st.lists(st.integers(0, 10**6), max_size=4))
def test_long_line_is_joined_from_its_records(size: int, all_stamped: bool, cuts: list[int]) -> None:  # noqa: FBT001
    text = bytes(n % 251 for n in range(size)).replace(b"\n", b" ") + b"\n"
    pieces = [text[at : at + RECORD_BYTES] for at in range(0, len(text), RECORD_BYTES)]
    stamps = [stamp(TIME + n) if all_stamped or not n else b"" for n in range(len(pieces))]
    block = b"".join(a + b for a, b in zip(stamps, pieces, strict=True))
    assert texts(read(block, cuts)) == text


def test_stamp_in_text_of_long_line_is_kept() -> None:
    text = b"y" * RECORD_BYTES + stamp(TIME - NANO) + b"a line of some other log" + b"z" * RECORD_BYTES
    assert texts(read(stamp(TIME) + text + b"\n", [])) == text + b"\n"


def test_text_without_stamp_is_not_a_line() -> None:
    block = stamp(TIME) + b"one\nno stamp\n" + stamp(TIME) + b"two\n"
    assert read(block, []) == [
        LineBatch(TIME // NANO, b"one\n", [stamp(TIME) + b"one"]),
        UnstampedText(b"no stamp"),
        LineBatch(TIME // NANO, b"two\n", [stamp(TIME) + b"two"]),
    ]


def test_unstamped_line_among_thousands_is_found() -> None:
    lines = [stamp(TIME) + b"x\n"] * 3000
    block = b"".join([*lines, b"2026-09-21 no stamp but close\n", *lines])
    strays = [item for item in read(block, [5000, 9000]) if isinstance(item, UnstampedText)]
    assert strays == [UnstampedText(b"2026-09-21 no stamp but close")]


@given(st.lists(st.integers(0, 10**6), max_size=6))
def test_line_above_limit_is_counted_and_not_kept(cuts: list[int]) -> None:
    block = b"".join([stamp(TIME), b"a\n", stamp(TIME), b"b" * 5000, b"\n", stamp(TIME + 7), b"c\n"])
    items = read(block, cuts, limit=1000)
    assert texts(items) == b"a\nc\n"
    assert sum(item.dropped for item in items if isinstance(item, LineBatch)) == 5001
    assert sum(item.count for item in items if isinstance(item, LineBatch)) == 3


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
    assert time == STAMP_TIME
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
        b"1969-12-31T23:59:59Z before all logs",
        b"0001-01-01T00:00:00+14:00 before all dates",
        b"9999-12-31T23:59:59-14:00 after all dates",
        b"",
    ],
)
def test_other_text_has_no_stamp(raw: bytes) -> None:
    assert read_stamp(raw) is None
