"""The law of changes that come back: nothing that changed is overwritten, and nothing outside is written."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.packed_changes import apply, file_line, packed, sha256, tree, write_tree

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.ignore_patterns import read_patterns
from paperclip_claude_k8s.volume.change_applying import apply_changes, kept_name
from paperclip_claude_k8s.volume.change_list import ChangesInvalid
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules
from paperclip_claude_k8s.volume.upload_packing import PlaceNotAllowed

NAMES = ["a", "b", "d", "d/a", "d/b", "d/e/f", "link", "link/a", "up/a", "a/b"]
TEXTS = ["", "one", "two", "three"]
HOSTILE = [
    "../a",
    "/etc/x",
    "d/../../a",
    ".git/hooks/x",
    ".GIT/config",
    "d/.git",
    "",
    ".",
    "d//a",
    "x\\y",
    "x" * 300,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def test_unchanged_file_is_replaced_and_keeps_its_mode(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    (folder / "a").chmod(0o600)
    done = apply(folder, packed([file_line("a", "new", "old")], "new"))
    assert (done.written, tree(folder)) == (1, {"a": "new"})
    assert (folder / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mine", ["changed", ""])
def test_changed_file_is_kept_and_the_agents_is_beside_it(folder: Path, mine: str) -> None:
    write_tree(folder, {"d/a": mine})
    done = apply(folder, packed([file_line("d/a", "new", "old")], "new"))
    beside = f"d/{kept_name('a', sha256('new'))}"
    assert (done.written, done.kept_beside) == (0, [beside])
    assert tree(folder) == {"d/a": mine, beside: "new"}


def test_new_file_does_not_replace_one_that_appeared(folder: Path) -> None:
    write_tree(folder, {"a": "mine"})
    done = apply(folder, packed([file_line("a", "new")], "new"))
    assert (tree(folder)["a"], len(done.kept_beside)) == ("mine", 1)


def test_file_that_the_host_deleted_is_not_written_again(folder: Path) -> None:
    done = apply(folder, packed([file_line("a", "new", "old")], "new"))
    assert list(tree(folder)) == done.kept_beside
    assert done.kept_beside != ["a"]


def test_deleted_file_is_deleted_only_if_it_is_unchanged(folder: Path) -> None:
    write_tree(folder, {"d/a": "old", "b": "changed"})
    lines = [f"d {sha256('old')} ./d/a", f"d {sha256('old')} ./b", f"d {sha256('old')} ./gone"]
    done = apply(folder, packed(lines))
    assert (done.deleted, done.not_deleted, tree(folder)) == (1, ["b"], {"b": "changed"})
    assert not (folder / "d").exists()


def test_folder_takes_the_place_of_a_deleted_file(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    apply(folder, packed([file_line("a/b", "new"), f"d {sha256('old')} ./a"], "new"))
    assert tree(folder) == {"a/b": "new"}


def test_mode_alone_is_taken_over(folder: Path) -> None:
    write_tree(folder, {"a": "same"})
    apply(folder, packed([file_line("a", "same", "same", "x")], "same"))
    assert (folder / "a").stat().st_mode & 0o777 == 0o755


def test_same_changes_twice_change_nothing_more(folder: Path) -> None:
    write_tree(folder, {"a": "old", "b": "mine", "c": "old"})
    lines = [file_line("a", "new", "old"), file_line("b", "new", "old"), f"d {sha256('old')} ./c"]
    first = apply(folder, packed(lines, "new", "new"))
    after = tree(folder)
    second = apply(folder, packed(lines, "new", "new"))
    assert tree(folder) == after
    assert (second.written, second.kept_beside) == (first.written, first.kept_beside)


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_path_is_not_written(folder: Path, path: str) -> None:
    before = tree(folder.parent)
    try:
        done = apply(folder, packed([file_line(path, "evil"), file_line("ok", "fine")], "evil", "fine"))
    except ChangesInvalid:
        assert path == ""
        return
    assert tree(folder.parent) == {**before, "project/ok": "fine"}
    assert len(done.refused) == 1


def test_nothing_is_written_or_deleted_through_links(folder: Path) -> None:
    outside = folder.parent / "outside"
    write_tree(outside, {"a": "old"})
    (folder / "link").symlink_to(outside)
    (folder / "file").symlink_to(outside / "a")
    lines = [
        file_line("link/a", "evil", "old"),
        file_line("link/new", "evil"),
        file_line("file", "evil", "old"),
        f"d {sha256('old')} ./link/a",
        f"d {sha256('old')} ./file",
    ]
    done = apply(folder, packed(lines, "evil", "evil", "evil"))
    assert tree(outside) == {"a": "old"}
    assert (folder / "link").is_symlink()
    assert (folder / "file").is_symlink()
    assert (done.written, done.deleted, sorted(done.not_deleted)) == (0, 0, ["file", "link/a"])


def test_special_file_of_the_host_stays(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    apply(folder, packed([file_line("pipe", "evil", "old"), f"d {sha256('')} ./pipe"], "evil"))
    assert (folder / "pipe").is_fifo()


def test_content_that_is_not_the_announced_one_is_refused(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    done = apply(folder, packed([file_line("a", "new", "old"), file_line("b", "more")], "NEWmore"))
    assert tree(folder) == {"a": "old", "b": "more"}
    assert len(done.refused) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["f - 0 - 1 ./a"],
        ["nonsense"],
        ["x" * 9000],
        [file_line("a", "x" * 100)],
        [f"left {'z' * 20} 1"],
        [f"f - {sha256('x')} - 999999999999 ./a"],
    ],
)
def test_broken_changes_are_refused_as_a_whole(folder: Path, lines: list[str]) -> None:
    with pytest.raises(ChangesInvalid):
        apply(folder, packed(lines), limit=50)
    assert tree(folder) == {}


def test_changes_that_unpack_to_more_than_the_limit_are_refused(folder: Path) -> None:
    with pytest.raises(ChangesInvalid):
        apply(folder, packed([file_line("a", "0" * 5_000_000)], "0" * 5_000_000))
    with pytest.raises(ChangesInvalid):
        apply(folder, packed(["left links 1"] * 100_000))
    assert tree(folder) == {}


def test_new_ignored_files_do_not_come_back(folder: Path) -> None:
    write_tree(folder, {".gitignore": "build/\n", "d/.gitignore": "*.o\n!keep.o\n"})
    files = ["build/x", "d/a.o", "d/keep.o", "d/excluded", "ok"]
    changes = packed([file_line(name, "n") for name in files], *("n" for _ in files))
    done = apply(folder, changes, ignore=IgnoreRules(read_patterns("excluded")))
    assert {"d/keep.o", "ok"} | {".gitignore", "d/.gitignore"} == set(tree(folder))
    assert done.left == {"ignored": 3}


def test_folder_where_the_policy_allows_none_is_not_opened(folder: Path) -> None:
    with pytest.raises(PlaceNotAllowed):
        apply_changes(str(folder), FolderRule(("/elsewhere",)), packed([]), 10, IgnoreRules())


def test_files_that_a_killed_process_left_are_removed(folder: Path) -> None:
    write_tree(folder, {".paperclip-0123abcd.tmp": "half", "d/.paperclip-0123abcd.tmp": "mine", "a": "old"})
    apply(folder, packed([file_line("a", "new", "old")], "new"))
    assert tree(folder) == {"a": "new", "d/.paperclip-0123abcd.tmp": "mine"}


def test_setuid_is_never_taken_over(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    (folder / "a").chmod(0o4755)
    apply(folder, packed([file_line("a", "new", "old", "x")], "new"))
    assert (folder / "a").stat().st_mode & 0o7777 == 0o755


_path = st.sampled_from([*NAMES, *filter(None, HOSTILE[:8])])
_change = st.one_of(
    st.tuples(st.just("f"), _path, st.sampled_from(TEXTS), st.sampled_from([None, *TEXTS])),
    st.tuples(st.just("d"), _path, st.sampled_from(TEXTS), st.none()),
)
_files = st.dictionaries(st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f"]), st.sampled_from(TEXTS))


@settings(max_examples=300, deadline=None)
@given(host=_files, changes=st.lists(_change, max_size=8))
def test_law_of_changes_that_come_back(  # noqa: PLR0915  # one law
    host: dict[str, str], changes: list[tuple[str, str, str, str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        folder, outside = top / "project", top / "up"
        write_tree(folder, host)
        folder.mkdir(exist_ok=True)
        write_tree(outside, {"a": "one"})
        (folder / "link").symlink_to(outside)
        before, far = tree(folder), tree(outside)
        lines, contents = [], []
        for kind, path, text, base in changes:
            if kind == "f":
                lines.append(file_line(path, text, base))
                contents.append(text)
            else:
                lines.append(f"d {sha256(text)} ./{path}")
        apply(folder, packed(lines, *contents))
        after = tree(folder)
        assert tree(outside) == far
        assert {path.name for path in top.iterdir()} == {"project", "up"}
        announced = {
            (path, sha256(base)) for kind, path, _, base in changes if kind == "f" and base is not None
        }
        announced |= {(path, sha256(text)) for kind, path, text, _ in changes if kind == "d"}
        # a version that no change names as the uploaded one is never lost
        made = {(path, sha256(text)) for kind, path, text, _ in changes if kind == "f"}
        for path, text in before.items():
            if after.get(path) != text:
                assert (path, sha256(text)) in announced
        for path, text in after.items():
            assert ".git" not in path.casefold().split("/")
            beside = any(path.endswith(f".agent-{sha256(other)[:8]}") and other == text for other in TEXTS)
            assert before.get(path) == text or (path, sha256(text)) in made or beside
        assert not [path for path in after if path.endswith(".tmp")]
