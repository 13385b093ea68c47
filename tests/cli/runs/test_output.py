"""`--output DIR`: copies that follow what the state folder holds, for their owner alone."""

import stat
from pathlib import Path

import pytest

from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.state import RunFiles


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    files = RunFiles(tmp_path / "run")
    files.folder.mkdir()
    files.transcript.write_bytes(b"one\ntwo\n")
    return files


def test_all_that_is_left_is_its_owners_alone(files: RunFiles, tmp_path: Path) -> None:
    files.log.write_bytes(b"said\n")
    Output(tmp_path / "out", files).finish({"status": "succeeded"})
    left = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert left == {"result.json": 0o600, "transcript.ndjson": 0o600, "log": 0o600}


@pytest.mark.parametrize("there", [b"", b"one\n", b"one\ntwo\n", b"one\nother\n", b"one\ntwo\nthree\n"])
def test_a_copy_becomes_equal_whatever_it_was(files: RunFiles, tmp_path: Path, there: bytes) -> None:
    copy = tmp_path / "out" / "transcript.ndjson"
    copy.parent.mkdir()
    copy.write_bytes(there)
    output = Output(copy.parent, files)
    assert copy.read_bytes() == b"one\ntwo\n"
    with files.transcript.open("ab") as more:
        more.write(b"three\n")
    output.grow()
    assert copy.read_bytes() == b"one\ntwo\nthree\n"


def test_a_folder_that_cannot_be_made_stops_the_call(files: RunFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stop, match=r"--output .*file/out cannot be written"):
        Output(tmp_path / "file" / "out", files)
