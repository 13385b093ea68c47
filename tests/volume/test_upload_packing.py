"""Packing a folder of the host for an upload: what is packed, left out or refused."""

import fcntl
import os
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.packed_changes import ANYWHERE, sha256, slow_patterns, write_tree

from paperclip_claude_k8s.base.folder_rules import FolderRule
from paperclip_claude_k8s.base.work_limit import TakesTooLong, WorkLimit
from paperclip_claude_k8s.relay.upload_scripts import LINKS, SUMS
from paperclip_claude_k8s.volume.ignore_files import rules_for
from paperclip_claude_k8s.volume.removal import Allowance
from paperclip_claude_k8s.volume.safefs import TooLarge
from paperclip_claude_k8s.volume.upload_packing import (
    FolderNotAllowed,
    PackedFolder,
    UploadInputs,
    UploadRefused,
    all_names,
    pack_folder,
    stays_inside,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


def inputs(
    folder: Path,
    max_bytes: int = 100_000,
    allowed: FolderRule = ANYWHERE,
    limit: WorkLimit | None = None,
    max_packed_bytes: int = 10**6,
) -> UploadInputs:
    rules = rules_for((), with_ignored=False)
    work = limit or WorkLimit(60)
    return UploadInputs(str(folder), "app", max_bytes, rules, allowed, work, max_packed_bytes)


def unpack(packed: PackedFolder) -> Mapping[str, str]:
    """Return the text of each file, and `-> target` for each link, by name. Close the packed file."""
    found: dict[str, str] = {}
    with packed.file, tarfile.open(fileobj=packed.file, mode="r:gz") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isreg() else None
            found[entry.name] = content.read().decode() if content else f"-> {entry.linkname}"
            assert (entry.uid, entry.gid, entry.mode & 0o7000) == (0, 0, 0)
    return found


def test_packed_folder_lists_every_file_with_its_sha256(folder: Path) -> None:
    write_tree(folder, {"a": "1", "d/b": "2", ".git/HEAD": "3"})
    (folder / "d/b").chmod(0o4755)
    packed = pack_folder(inputs(folder))
    assert (packed.files, packed.content_bytes) == (3, 3)
    packed.file.seek(0)
    found = unpack(packed)
    assert found["app/.git/HEAD"] == "3"
    assert found[SUMS] == f"{sha256('1')} - ./a\n{sha256('2')} x ./d/b\n"


def test_links_to_outside_special_files_and_odd_names_are_left_out(folder: Path) -> None:
    write_tree(folder, {"d/a": "1", "odd\nname": "2", "back\\slash": "3"})
    (folder / "in").symlink_to("d/a")
    (folder / "d/up").symlink_to("../in")
    (folder / "out").symlink_to("../elsewhere")
    (folder / "absolute").symlink_to("/etc/passwd")
    (folder / "twisted").symlink_to("d/../../x")
    os.mkfifo(folder / "pipe")
    packed = pack_folder(inputs(folder))
    packed.file.seek(0)
    skipped = set(packed.skipped)
    found = unpack(packed)
    assert found[LINKS] == "./d/up\n./in\n"
    assert (found["app/in"], found["app/d/up"]) == ("-> d/a", "-> ../in")
    assert skipped == {"absolute", "back\\slash", "odd\nname", "out", "pipe", "twisted"}


@pytest.mark.parametrize(
    ("target", "depth", "inside"),
    [
        ("a", 0, True),
        ("a/b", 0, True),
        ("../a", 1, True),
        ("..", 1, True),
        ("../../a", 2, True),
        (".", 0, True),
        ("../a", 0, False),
        ("..", 0, False),
        ("a/../b", 3, False),
        ("a/..", 3, False),
        ("/a", 3, False),
        ("", 3, False),
        ("a\nb", 3, False),
        ("../" * 400 + "a", 500, False),
    ],
)
def test_link_stays_inside_only_if_its_double_dots_come_first(target: str, depth: int, inside: bool) -> None:  # noqa: FBT001
    assert stays_inside(target, depth) is inside


def test_folder_that_is_too_large_before_or_after_packing_is_refused(folder: Path) -> None:
    write_tree(folder, {"a": "x" * 5000})
    with pytest.raises(UploadRefused, match="uploadExcludes"):
        pack_folder(inputs(folder, max_bytes=4999))
    (folder / "random").write_bytes(os.urandom(5000))
    with pytest.raises(UploadRefused, match="when it is packed"):
        pack_folder(inputs(folder, max_packed_bytes=2000))


def test_names_of_a_folder_are_complete_or_refused(folder: Path) -> None:
    write_tree(folder, {"b": "", "a": "", "c": ""})
    top = os.open(folder, os.O_RDONLY)
    try:
        assert all_names(top, Allowance(3)) == ["a", "b", "c"]
        with pytest.raises(TooLarge, match="too many entries"):
            all_names(top, Allowance(2))
    finally:
        os.close(top)


def test_folder_that_does_not_exist_or_is_not_allowed_is_refused(folder: Path) -> None:
    with pytest.raises(UploadRefused, match="No such file"):
        pack_folder(inputs(folder / "nothing"))
    with pytest.raises(FolderNotAllowed, match="uploadRoots"):
        pack_folder(inputs(folder, allowed=FolderRule(("/elsewhere",))))
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(FolderNotAllowed):
        pack_folder(inputs(folder.parent / "link", allowed=FolderRule(("/x",))))


def test_memory_does_not_depend_on_the_size_of_a_file(folder: Path) -> None:
    (folder / "large").touch()
    os.truncate(folder / "large", 50_000_000)
    tracemalloc.start()
    try:
        packed = pack_folder(inputs(folder, max_bytes=60_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    packed.file.close()
    assert (packed.files, packed.content_bytes) == (1, 50_000_000)
    assert peak < 8_000_000


def test_path_above_the_length_limit_is_left_out(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    packed = pack_folder(inputs(folder))
    packed.file.close()
    # 16 names of 250 bytes, with their slashes, are the first path above `UploadLimits.path_bytes`
    assert [len(path) for path in packed.skipped] == [16 * 251 - 1]


def test_packing_ends_in_time_although_the_folder_is_locked(folder: Path) -> None:
    holder = os.open(folder, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(TakesTooLong):
        pack_folder(inputs(folder, limit=WorkLimit(0.3)))
    os.close(holder)
    pack_folder(inputs(folder)).file.close()


def test_packing_ends_in_time_although_patterns_take_long(folder: Path) -> None:
    write_tree(folder, {".gitignore": slow_patterns()} | {"a" * (200 + number): "1" for number in range(20)})
    limit = WorkLimit(0.05)
    with pytest.raises(TakesTooLong):
        pack_folder(inputs(folder, max_bytes=10**6, limit=limit))
    assert limit.left > -2, "more than 2 s late"
