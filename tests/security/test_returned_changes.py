"""Changes that an agent made in an uploaded folder are not written if git on the host would run programs."""

import subprocess
from pathlib import Path

import pytest
from tests.support.packed_changes import apply, file_line, packed, sha256, tree, write_tree

from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.mark.parametrize(
    "head", ["ref: refs/heads/main\n", "ref:refs/heads/x", "aA" * 20, "link to refs/heads/main"]
)
def test_no_file_of_a_bare_repository_is_changed(folder: Path, head: str) -> None:
    """Git runs programs that the file `config` of a repository names."""
    write_tree(folder, {"d/r/config": "old", "d/a": "old"})
    if head.startswith("link to "):
        (folder / "d/r/HEAD").symlink_to(head.removeprefix("link to "))
    else:
        (folder / "d/r/HEAD").write_text(head)
    before = tree(folder)
    names = ["d/r/config", "d/r/hooks/post-checkout", "d/r/commondir"]
    lines = [file_line(names[0], "evil", "old"), *(file_line(name, "evil") for name in names[1:])]
    done = apply(folder, packed([*lines, file_line("d/a", "new", "old")], *["evil"] * 3, "new"))
    assert tree(folder) == {**before, "d/a": "new"}
    assert (done.written, len(done.refused)) == (1, 3)
    done = apply(folder, packed([f"d {sha256('old')} ./d/r/config"]))
    assert (done.deleted, done.not_deleted) == (0, ["d/r/config"])


def test_git_runs_no_program_of_an_agent_in_any_folder(folder: Path) -> None:
    proof = folder.parent / "proof"
    config = f'[core]\nrepositoryformatversion = 0\nworktree = ..\nfsmonitor = "touch {proof}; false"\n'
    files = {"HEAD": "ref: refs/heads/main\n", "config": config, "objects/x": "", "refs/x": ""}
    lines = [file_line(f"d/{name}", text) for name, text in files.items()]
    apply(folder, packed(lines, *files.values()))
    subprocess.run(["git", "status"], cwd=folder / "d", capture_output=True, check=False)
    assert not proof.exists()


def test_folder_whose_file_head_is_not_of_git_is_written_to(folder: Path) -> None:
    write_tree(folder, {"HEAD": "version 3", "a": "old"})
    assert apply(folder, packed([file_line("a", "new", "old")], "new")).written == 1


def test_number_of_folders_is_limited(folder: Path) -> None:
    """Each folder takes a block of the host's disk, which `uploadLimit` does not count."""
    lines = [
        file_line("/".join([str(number), *["d"] * 61, "f"]), "") for number in range(330)
    ]  # 20,460 folders
    done = apply(folder, packed([*lines, file_line("a", "new")], "new"))
    assert done.refused[0].endswith("(there are too many folders)")
    assert sum(path.is_dir() for path in folder.rglob("*")) <= UPLOAD_LIMITS.entries
    assert (folder / "a").read_text() == "new"
