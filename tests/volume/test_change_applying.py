"""Applying an agent's changes to the folder on the host that was uploaded.

A file that has changed on the host since the upload is not overwritten. No file outside is written.
"""

import fcntl
import io
import os
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.packed_changes import apply, file_line, packed, sha256, slow_patterns, tree, write_tree

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.ignore_patterns import read_patterns
from paperclip_claude_k8s.base.work_limit import TakesTooLong, WorkLimit
from paperclip_claude_k8s.volume.change_applying import NotWritable, apply_changes, kept_name
from paperclip_claude_k8s.volume.change_list import ChangesInvalid
from paperclip_claude_k8s.volume.ignore_files import IgnoreRules
from paperclip_claude_k8s.volume.upload_packing import FolderNotAllowed

NAMES = ["a", "b", "d", "d/a", "d/b", "d/e/f", "link", "link/a", "up/a", "a/b"]
TEXTS = ["", "one", "two", "three"]
HOSTILE_PATHS = [
    "../a",
    "/etc/x",
    "d/../../a",
    ".git/hooks/x",
    ".GIT/config",
    "GIT~1/config",
    "d/.git",
    "HEAD",
    "d/head",
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


@pytest.mark.parametrize("host_text", ["changed", ""])
def test_file_that_the_host_changed_is_kept_and_the_agents_version_is_beside_it(
    folder: Path, host_text: str
) -> None:
    write_tree(folder, {"d/a": host_text})
    done = apply(folder, packed([file_line("d/a", "new", "old")], "new"))
    beside = f"d/{kept_name('a', sha256('new'))}"
    assert (done.written, done.kept_beside) == (0, [beside])
    assert tree(folder) == {"d/a": host_text, beside: "new"}


def test_new_file_of_the_agent_does_not_replace_a_new_file_of_the_host(folder: Path) -> None:
    write_tree(folder, {"a": "mine"})
    done = apply(folder, packed([file_line("a", "new")], "new"))
    assert (tree(folder)["a"], len(done.kept_beside)) == ("mine", 1)


def test_file_that_the_host_deleted_is_written_only_under_another_name(folder: Path) -> None:
    done = apply(folder, packed([file_line("a", "new", "old")], "new"))
    assert list(tree(folder)) == done.kept_beside
    assert done.kept_beside != ["a"]


def test_file_that_the_agent_deleted_is_deleted_only_if_it_is_unchanged(folder: Path) -> None:
    write_tree(folder, {"d/a": "old", "b": "changed"})
    lines = [f"d {sha256('old')} ./d/a", f"d {sha256('old')} ./b", f"d {sha256('old')} ./gone"]
    done = apply(folder, packed(lines))
    assert (done.deleted, done.not_deleted, tree(folder)) == (1, ["b"], {"b": "changed"})
    assert not (folder / "d").exists()


def test_folder_takes_the_place_of_a_deleted_file(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    apply(folder, packed([file_line("a/b", "new"), f"d {sha256('old')} ./a"], "new"))
    assert tree(folder) == {"a/b": "new"}


def test_new_mode_of_a_file_with_unchanged_content_is_applied(folder: Path) -> None:
    write_tree(folder, {"a": "same"})
    apply(folder, packed([file_line("a", "same", "same", "x")], "same"))
    assert (folder / "a").stat().st_mode & 0o777 == 0o755


def test_applying_the_same_changes_again_changes_no_file(folder: Path) -> None:
    write_tree(folder, {"a": "old", "b": "mine", "c": "old"})
    lines = [file_line("a", "new", "old"), file_line("b", "new", "old"), f"d {sha256('old')} ./c"]
    first = apply(folder, packed(lines, "new", "new"))
    after = tree(folder)
    second = apply(folder, packed(lines, "new", "new"))
    assert tree(folder) == after
    assert (second.written, second.kept_beside) == (first.written, first.kept_beside)


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_hostile_path_is_not_written(folder: Path, path: str) -> None:
    before = tree(folder.parent)
    try:
        done = apply(folder, packed([file_line(path, "evil"), file_line("ok", "fine")], "evil", "fine"))
    except ChangesInvalid:
        assert path == "", "only an empty path makes the whole list invalid"
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


def test_content_with_another_sha256_than_the_list_says_is_refused(folder: Path) -> None:
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


def test_new_files_that_ignore_patterns_match_are_not_written(folder: Path) -> None:
    write_tree(folder, {".gitignore": "build/\n", "d/.gitignore": "*.o\n!keep.o\n"})
    files = ["build/x", "d/a.o", "d/keep.o", "d/excluded", "ok"]
    changes = packed([file_line(name, "n") for name in files], *("n" for _ in files))
    done = apply(folder, changes, ignore=IgnoreRules(read_patterns("excluded")))
    assert {"d/keep.o", "ok"} | {".gitignore", "d/.gitignore"} == set(tree(folder))
    assert done.left == {"ignored": 3}


def test_folder_that_the_policy_does_not_allow_is_not_opened(folder: Path) -> None:
    elsewhere, changes, ignore = FolderRule(("/elsewhere",)), packed([]), IgnoreRules()
    with pytest.raises(FolderNotAllowed):
        apply_changes(str(folder), elsewhere, changes, max_bytes=10, ignore=ignore, limit=WorkLimit(60))


def test_temporary_files_of_a_killed_process_are_removed(folder: Path) -> None:
    in_subfolder = "d/.paperclip-0123abcd.tmp"  # temporary files are only written to the top folder
    write_tree(folder, {".paperclip-0123abcd.tmp": "half", in_subfolder: "of the host", "a": "old"})
    apply(folder, packed([file_line("a", "new", "old")], "new"))
    assert tree(folder) == {"a": "new", in_subfolder: "of the host"}


def test_replaced_file_loses_its_setuid_bit(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    (folder / "a").chmod(0o4755)
    apply(folder, packed([file_line("a", "new", "old", "x")], "new"))
    assert (folder / "a").stat().st_mode & 0o7777 == 0o755


def test_applying_ends_in_time_although_patterns_take_long(folder: Path) -> None:
    """An agent may have written the patterns: `.gitignore` may be one of the changed files."""
    write_tree(folder, {".gitignore": slow_patterns()})
    names = [f"{'d' * 200}/{'a' * 250}{number}" for number in range(50)]
    limit = WorkLimit(0.5)
    with pytest.raises(TakesTooLong):
        apply(folder, packed(file_line(name, "") for name in names), work=limit)
    assert limit.left > -2, "more than 2 s late"


def test_applying_ends_in_time_although_the_folder_is_locked(folder: Path) -> None:
    holder = os.open(folder, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_SH)
    with pytest.raises(TakesTooLong):
        apply(folder, packed([file_line("a", "new")], "new"), work=WorkLimit(0.3))
    os.close(holder)
    assert apply(folder, packed([file_line("a", "new")], "new")).written == 1


def test_file_that_is_too_large_to_have_been_uploaded_is_not_read(folder: Path) -> None:
    write_tree(folder, {"disk.img": ""})
    os.truncate(folder / "disk.img", 2**40)
    lines = [file_line("disk.img", "new", "old"), f"d {sha256('old')} ./disk.img"]
    done = apply(folder, packed(lines, "new"), work=WorkLimit(5))
    assert (len(done.kept_beside), done.not_deleted) == (1, ["disk.img"])
    assert (folder / "disk.img").stat().st_size == 2**40


def test_list_that_needs_much_memory_is_refused(folder: Path) -> None:
    deep = "/".join(["d" * 60] * 60)
    with pytest.raises(ChangesInvalid, match="too long"):
        apply(folder, packed(file_line(f"{deep}/{number}", "") for number in range(10_000)))
    with pytest.raises(ChangesInvalid, match="too many"):
        apply(folder, packed(file_line(f"{number}", "") for number in range(20_001)))
    assert tree(folder) == {}


class _SwappingReader(io.BytesIO):
    """Packed changes. While they are read, a link replaces the file that is just being written."""

    def __init__(self, data: bytes, folder: Path, target: Path) -> None:
        super().__init__(data)
        self._folder, self._target = folder, target
        self.swapped = 0

    def read(self, size: int | None = -1, /) -> bytes:
        for found in self._folder.glob(".paperclip-*.tmp"):
            if not found.is_symlink():
                found.unlink()
                found.symlink_to(self._target)
                self.swapped += 1
        return super().read(size)


def test_mode_of_a_file_outside_is_not_changed_through_a_link(folder: Path) -> None:
    """Other programs can write to a folder on a shared volume at any time."""
    victim = folder.parent / "victim"
    write_tree(folder, {"a": "old"})
    (folder / "a").chmod(0o666)
    victim.write_text("secret")
    victim.chmod(0o600)
    new = os.urandom(300_000).decode("latin-1")
    changes = _SwappingReader(packed([file_line("a", new, "old")], new).read(), folder, victim)
    apply(folder, changes)
    assert changes.swapped
    assert (victim.stat().st_mode & 0o777, victim.read_text()) == (0o600, "secret")


def test_changes_that_do_not_fit_on_the_disk_raise_and_can_be_applied_later(folder: Path) -> None:
    write_tree(folder, {"a": "old"})
    lines, new = [file_line("b", "1"), file_line("a", "x" * 9000, "old")], "x" * 9000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)  # a limit for one file, in place of a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(NotWritable):
            apply(folder, packed(lines, "1", new))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree(folder) == {"a": "old", "b": "1"}
    assert apply(folder, packed(lines, "1", new)).written == 2


_path = st.sampled_from([*NAMES, *HOSTILE_PATHS[:9]])  # no empty path: it makes the whole list invalid
_change = st.one_of(
    st.tuples(st.just("f"), _path, st.sampled_from(TEXTS), st.sampled_from([None, *TEXTS])),
    st.tuples(st.just("d"), _path, st.sampled_from(TEXTS), st.none()),
)
_files = st.dictionaries(st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f"]), st.sampled_from(TEXTS))


@settings(max_examples=300, deadline=None)
@given(host=_files, changes=st.lists(_change, max_size=8))
def test_any_changes_overwrite_no_changed_file_and_write_nothing_outside(  # noqa: PLR0915  # one property
    host: dict[str, str], changes: list[tuple[str, str, str, str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        folder, outside = top / "project", top / "up"
        write_tree(folder, host)
        folder.mkdir(exist_ok=True)
        write_tree(outside, {"a": "one"})
        (folder / "link").symlink_to(outside)
        before, outside_before = tree(folder), tree(outside)
        lines, contents = [], []
        for kind, path, text, base in changes:
            if kind == "f":
                lines.append(file_line(path, text, base))
                contents.append(text)
            else:
                lines.append(f"d {sha256(text)} ./{path}")
        apply(folder, packed(lines, *contents))
        after = tree(folder)
        assert tree(outside) == outside_before
        assert {path.name for path in top.iterdir()} == {"project", "up"}
        announced = {
            (path, sha256(base)) for kind, path, _, base in changes if kind == "f" and base is not None
        }
        announced |= {(path, sha256(text)) for kind, path, text, _ in changes if kind == "d"}
        made = {(path, sha256(text)) for kind, path, text, _ in changes if kind == "f"}
        # a file of the host is only changed if a change announces its content as that of the upload
        for path, text in before.items():
            if after.get(path) != text:
                assert (path, sha256(text)) in announced
        # each file has its old content, or that of a change, or is an agent's version beside the host's
        for path, text in after.items():
            assert ".git" not in path.casefold().split("/")
            beside = any(path.endswith(f".agent-{sha256(other)[:8]}") and other == text for other in TEXTS)
            assert before.get(path) == text or (path, sha256(text)) in made or beside
        assert not [path for path in after if path.endswith(".tmp")]
