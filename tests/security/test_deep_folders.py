"""Folders that an agent made deep or large, or keeps changing: they are read and removed at bounded cost."""

import os
import resource
import sys
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from paperclip_claude_k8s.plan.bundle import BundleFile
from paperclip_claude_k8s.plan.delivery import STAGING_FOLDER
from paperclip_claude_k8s.volume import removal
from paperclip_claude_k8s.volume.packing import PackInputs, pack
from paperclip_claude_k8s.volume.removal import Allowance, discard, names_in, remove_tree
from paperclip_claude_k8s.volume.safefs import (
    Budget,
    TooLarge,
    make_folders,
    open_volume,
    read_tree,
    write_tree,
)

DEPTH = 1500
"""More than the recursion limit of Python."""


def nest(folder: Path, depth: int = DEPTH) -> None:
    """Make a chain of folders with a path far longer than a system call accepts, and a file in the last."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT, dir_fd=at))
    os.close(at)


@pytest.fixture
def few_descriptors() -> object:
    """Let this process open only 12 more files at a time."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 12, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_deep_folder_is_removed_with_few_descriptors(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    nest(tmp_path / "x")
    with open_volume(str(tmp_path)) as volume:
        remove_tree(volume, "x")
    assert list(tmp_path.iterdir()) == []


def test_wide_and_deep_folder_is_removed_and_the_targets_of_its_links_are_kept(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept", encoding="utf-8")
    tree = tmp_path / "volume" / "x"
    for number in range(50):
        folder = tree / f"a{number}" / "b" / "c"
        folder.mkdir(parents=True)
        (folder / "link").symlink_to(outside)
        (tree / f"a{number}" / "up").symlink_to("..")
        os.mkfifo(folder / "pipe")
        os.link(outside / "file", folder / "hard")
    with open_volume(str(tmp_path / "volume")) as volume:
        remove_tree(volume, "x")
    assert list((tmp_path / "volume").iterdir()) == []
    assert (outside / "file").read_text(encoding="utf-8") == "kept"


def test_removal_ends_in_time_while_an_agent_adds_files(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    stop = threading.Event()

    at = os.open(tmp_path / "x" / "y", os.O_RDONLY)

    def add() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                os.close(os.open(f"f{number}", os.O_CREAT, dir_fd=at))
            except OSError:
                break
        os.close(at)

    agent = threading.Thread(target=add)
    agent.start()
    began = time.monotonic()
    with open_volume(str(tmp_path)) as volume:
        discard(volume, "x", Allowance(until=began + 0.5))
    took = time.monotonic() - began
    stop.set()
    agent.join()
    assert took < 3


def test_names_of_a_huge_folder_are_not_all_kept_in_memory(tmp_path: Path) -> None:
    for number in range(20_000):
        (tmp_path / f"{number:040}").touch()
    tracemalloc.start()
    try:
        with open_volume(str(tmp_path)) as volume:
            assert len([1 for _ in names_in(volume, Allowance(entries=5000))]) == 5000
            with pytest.raises(TooLarge):
                read_tree(volume, Budget(bytes_left=2**20, entries_left=100))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="Python 3.14 raises no RecursionError for deep folders"
)
async def test_pack_removes_deep_folders_from_a_bundle_and_beside_it(tmp_path: Path) -> None:
    skill = tmp_path / "helper"
    skill.mkdir()
    (skill / "SKILL.md").write_text("# Helper", encoding="utf-8")
    volume = tmp_path / "volume"
    volume.mkdir()
    config = {
        "paperclipRuntimeSkills": [{"key": "co/helper", "runtimeName": "helper", "source": str(skill)}],
        "paperclipSkillSync": {"desiredSkills": ["co/helper"]},
    }
    inputs = PackInputs(config, instructions=None, company="co", env={}, volume=str(volume))
    first = await pack(inputs)
    assert first.root is not None
    folder = volume / first.root.partition("/volume/")[2]
    nest(folder)
    old = folder.parent / ".x-01234567.tmp"
    old.mkdir()
    nest(old)
    os.utime(old, (0, 0))
    assert await pack(inputs) == first
    assert sorted(path.name for path in folder.iterdir()) == [".claude", "agent-instructions.md"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_old_deep_leftover_of_a_staged_prompt_is_removed(tmp_path: Path) -> None:
    old = tmp_path / STAGING_FOLDER / "old"
    old.mkdir(parents=True)
    nest(old)
    os.utime(old, (0, 0))
    with open_volume(str(tmp_path)) as at, make_folders(at, STAGING_FOLDER) as folder:
        removal.remove_older(folder, datetime.now(UTC).timestamp() - 60)
        write_tree(folder, "new", {"prompt.txt": BundleFile(b"x")})
    assert [path.name for path in (tmp_path / STAGING_FOLDER).iterdir()] == ["new"]


async def test_skill_is_packed_although_an_agent_blocks_the_bundle_folders(tmp_path: Path) -> None:
    volume, skill = tmp_path / "volume", tmp_path / "helper"
    skill.mkdir()
    (skill / "SKILL.md").write_text("# Helper", encoding="utf-8")
    for home in (".paperclip", ".paperclip-00000000"):
        (volume / home).mkdir(parents=True)
        (volume / home / "instances").touch()
    entry = {"key": "co/helper", "runtimeName": "helper", "source": str(skill)}
    config = {"paperclipRuntimeSkills": [entry], "paperclipSkillSync": {"desiredSkills": ["co/helper"]}}
    inputs = PackInputs(config, instructions=None, company="co", env={}, volume=str(volume))
    first, again = await pack(inputs), await pack(inputs)
    assert first == again
    assert first.root is not None
    folder = volume / first.root.partition("/volume/")[2]
    assert (folder / ".claude/skills/helper/SKILL.md").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
async def test_bundle_is_written_elsewhere_if_its_folder_belongs_to_an_agent(tmp_path: Path) -> None:
    instructions, volume = tmp_path / "AGENTS.md", tmp_path / "volume"
    instructions.write_text("Be kind.", encoding="utf-8")
    (volume / ".paperclip").mkdir(parents=True)
    os.chown(volume / ".paperclip", 1000, 1000)
    inputs = PackInputs({}, str(instructions), company="co", env={}, volume=str(volume))
    first, again = await pack(inputs), await pack(inputs)
    assert first == again
    assert first.root is not None
    folder = volume / first.root.partition("/volume/")[2]
    assert folder.parts[len(volume.parts)].startswith(".paperclip-")
    assert (folder / "agent-instructions.md").read_text(encoding="utf-8") == "Be kind."
    assert list((volume / ".paperclip").iterdir()) == []
