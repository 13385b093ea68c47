"""Output that is told again from its beginning stands in the file once, whatever happened in between."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip_claude_k8s.cli.runs.mirrored_file import MirroredFile

TOLD = b"".join(b'{"n":%d,"text":"%s"}\n' % (n, b"x" * (n * 7 % 40)) for n in range(30))


def blocks(told: bytes, lines_each: int) -> list[bytes]:
    lines = told.splitlines(keepends=True)
    return [b"".join(lines[at : at + lines_each]) for at in range(0, len(lines), lines_each)]


def tell(path: Path, told: bytes, lines_each: int = 3, begin: int = 0) -> bytes:
    """What was new, once the whole stream has been told."""
    with MirroredFile(path) as saved:
        saved.begin(begin)
        return b"".join(saved.feed(block) for block in blocks(told, lines_each))


@given(cuts=st.lists(st.integers(0, len(TOLD)), max_size=6), lines_each=st.integers(1, 12))
def test_any_number_of_interruptions_at_any_byte_leave_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], lines_each: int
) -> None:
    path = tmp_path_factory.mktemp("saved") / "transcript"
    for cut in cuts:
        tell(path, TOLD, lines_each)
        with path.open("r+b") as file:  # what a killed shell had not written yet
            file.truncate(cut)
    tell(path, TOLD, lines_each)
    assert path.read_bytes() == TOLD


@given(cut=st.integers(0, len(TOLD)))
def test_what_is_new_are_the_lines_that_were_not_wholly_there(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("saved") / "transcript"
    path.write_bytes(TOLD[:cut])
    assert tell(path, TOLD) == TOLD[TOLD.rfind(b"\n", 0, cut) + 1 :]


def test_the_zeros_that_a_power_cut_leaves_are_written_over(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    path.write_bytes(TOLD[:400] + bytes(300))
    tell(path, TOLD)
    assert path.read_bytes() == TOLD


@pytest.mark.parametrize("lost", [1, 5, 12])
def test_lines_that_the_cluster_has_lost_since_stay_in_the_file(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "transcript"
    lines = TOLD.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20]))
    tell(path, b"".join(lines[lost:]))
    assert path.read_bytes() == TOLD


def test_a_log_that_begins_only_behind_the_file_is_added_to_it(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    lines = TOLD.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:-4])
    tell(path, b"".join(lines[20:]))
    assert path.read_bytes() == b"".join(lines[:5]) + lines[5][:-4] + b"\n" + b"".join(lines[20:])


def test_a_gap_in_the_middle_takes_nothing_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    lines = TOLD.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]))
    tell(path, b"".join([*lines[:4], *lines[7:]]))
    assert path.read_bytes() == TOLD


def test_a_second_job_of_the_run_stands_behind_the_first(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    tell(path, b"one\n")
    tell(path, TOLD, begin=4)
    tell(path, TOLD, begin=4)
    assert path.read_bytes() == b"one\n" + TOLD


def test_equal_lines_are_as_many_as_were_told(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    same = b'{"same":true}\n' * 20
    tell(path, same[: 14 * 7])
    tell(path, same, 1)
    assert path.read_bytes() == same


def test_a_complete_stream_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    path.write_bytes(TOLD + b"left over\n")
    with MirroredFile(path) as saved:
        saved.begin(0)
        saved.feed(TOLD)
        saved.end()
    assert path.read_bytes() == TOLD
