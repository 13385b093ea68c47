from hypothesis import given
from hypothesis import strategies as st
from tests.support.kubelet_log import NANO, stamp

from paperclip_claude_k8s.podlog.log_lines import RECORD_BYTES, LineBatch, LineReader, UnstampedText

TIME = 1_790_000_000 * NANO
TEXTS = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b" "))


def read(block: bytes, cuts: list[int], limit: int = 10**6) -> list[LineBatch | UnstampedText]:
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
def test_long_line_is_joined_from_its_records(size: int, inner: bool, cuts: list[int]) -> None:  # noqa: FBT001
    text = bytes(n % 251 for n in range(size)).replace(b"\n", b" ") + b"\n"
    pieces = [text[at : at + RECORD_BYTES] for at in range(0, len(text), RECORD_BYTES)]
    stamps = [stamp(TIME + n) if inner or not n else b"" for n in range(len(pieces))]
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
