"""`MirroredFile` keeps each line of a stream once, even if the stream is read again from its beginning."""

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.cli.runs.mirrored_file import MirroredFile

STREAM = b"".join(b'{"n":%d,"text":"%s"}\n' % (n, b"x" * (n * 7 % 40)) for n in range(30))


def blocks(stream: bytes, lines_each: int) -> list[bytes]:
    lines = stream.splitlines(keepends=True)
    return [b"".join(lines[at : at + lines_each]) for at in range(0, len(lines), lines_each)]


def mirror(path: Path, stream: bytes, lines_each: int = 3, start: int = 0) -> bytes:
    """Feed the whole stream, which begins at byte `start` of the file; return what `feed` returns."""
    with closing(MirroredFile(path)) as file:
        file.rewind(start)
        return b"".join(file.feed(block) for block in blocks(stream, lines_each))


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=6), lines_each=st.integers(1, 12))
def test_file_has_each_line_once_after_any_interruptions(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], lines_each: int
) -> None:
    path = tmp_path_factory.mktemp("mirror") / "transcript"
    for cut in cuts:
        mirror(path, STREAM, lines_each)
        with path.open("r+b") as file:  # like a process that was killed before it had written the rest
            file.truncate(cut)
    mirror(path, STREAM, lines_each)
    assert path.read_bytes() == STREAM


@given(cut=st.integers(0, len(STREAM)))
def test_feed_returns_lines_that_the_file_lacks_or_has_in_part(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("mirror") / "transcript"
    path.write_bytes(STREAM[:cut])
    assert mirror(path, STREAM) == STREAM[STREAM.rfind(b"\n", 0, cut) + 1 :]


def test_nul_bytes_left_by_a_power_cut_are_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    path.write_bytes(STREAM[:400] + b"\0" * 300)
    mirror(path, STREAM)
    assert path.read_bytes() == STREAM


@pytest.mark.parametrize("dropped", [1, 5, 12])
def test_first_lines_that_the_stream_no_longer_has_stay_in_the_file(tmp_path: Path, dropped: int) -> None:
    path = tmp_path / "transcript"
    lines = STREAM.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20]))
    mirror(path, b"".join(lines[dropped:]))
    assert path.read_bytes() == STREAM


def test_stream_that_starts_after_the_end_of_the_file_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    lines = STREAM.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:-4])
    mirror(path, b"".join(lines[20:]))
    assert path.read_bytes() == b"".join(lines[:5]) + lines[5][:-4] + b"\n" + b"".join(lines[20:])


def test_lines_missing_in_the_middle_of_the_stream_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    lines = STREAM.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]))
    mirror(path, b"".join([*lines[:4], *lines[7:]]))
    assert path.read_bytes() == STREAM


def test_output_of_a_second_job_follows_the_first(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    mirror(path, b"one\n")
    mirror(path, STREAM, start=len(b"one\n"))
    mirror(path, STREAM, start=len(b"one\n"))
    assert path.read_bytes() == b"one\n" + STREAM


def test_repeated_equal_lines_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    line = b'{"same":true}\n'
    mirror(path, line * 7)
    mirror(path, line * 20, lines_each=1)
    assert path.read_bytes() == line * 20


def test_cut_rest_truncates_the_file_to_the_length_of_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    path.write_bytes(STREAM + b"left over\n")
    with closing(MirroredFile(path)) as file:
        file.rewind(0)
        file.feed(STREAM)
        file.cut_rest()
    assert path.read_bytes() == STREAM
