"""`--output DIR`: copies of the files in the state folder, readable by their owner only."""

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


def test_output_files_are_readable_by_their_owner_only(files: RunFiles, tmp_path: Path) -> None:
    files.log.write_bytes(b"a status line\n")
    Output(tmp_path / "out", files).finish({"status": "succeeded"})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {"result.json": 0o600, "transcript.ndjson": 0o600, "log": 0o600}


@pytest.mark.parametrize("existing", [b"", b"one\n", b"one\ntwo\n", b"one\nother\n", b"one\ntwo\nthree\n"])
def test_copied_transcript_becomes_equal_to_the_one_in_the_state_folder(
    files: RunFiles, tmp_path: Path, existing: bytes
) -> None:
    copy = tmp_path / "out" / "transcript.ndjson"
    copy.parent.mkdir()
    copy.write_bytes(existing)
    output = Output(copy.parent, files)
    assert copy.read_bytes() == b"one\ntwo\n"
    with files.transcript.open("ab") as more:
        more.write(b"three\n")
    output.update()
    assert copy.read_bytes() == b"one\ntwo\nthree\n"


def test_output_folder_that_cannot_be_created_raises_stop(files: RunFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Stop, match=r"--output .*file/out cannot be written"):
        Output(tmp_path / "file" / "out", files)
