"""Packing instructions and skills into a bundle on the shared volume: what is written, left out or noted."""

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.plan.bundle import Packed, PathRefused
from paperclip_claude_k8s.ports import utc_now
from paperclip_claude_k8s.volume.packing import PackInputs, pack

COPIES = "/var/run/paperclip/scratch/volume"
"""Where the relay puts verified copies of files on the shared volume."""
CACHE = ".paperclip/instances/default/companies/co/claude-prompt-cache"
"""Folder of the bundles of company `co` on the shared volume."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def skill(tmp_path: Path) -> Path:
    folder = tmp_path / "library" / "helper"
    (folder / "bin").mkdir(parents=True)
    (folder / "SKILL.md").write_text("# Helper", encoding="utf-8")
    (folder / "bin" / "run").write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / "bin" / "run").chmod(0o700)
    return folder


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def skill_entry(folder: Path, key: str = "co/helper", **more: Any) -> dict[str, Any]:
    """Return the entry of a skill in the host's library."""
    return {"key": key, "runtimeName": "helper", "source": str(folder), **more}


def inputs(
    volume: Path | None, *entries: dict[str, Any], instructions: Path | str | None = None
) -> PackInputs:
    """Return the input of `pack` for an agent with these instructions and skills."""
    config = {
        "paperclipRuntimeSkills": list(entries),
        "paperclipSkillSync": {"desiredSkills": [entry["key"] for entry in entries]},
    }
    text = None if instructions is None else str(instructions)
    return PackInputs(config, text, "co", {}, None if volume is None else str(volume))


def local_folder(packed: Packed, volume: Path) -> Path:
    """Return the bundle's folder on the volume; `Packed.root` is the path of the bundle's copy in the Pod."""
    assert packed.root is not None
    return volume / packed.root.removeprefix(f"{COPIES}/")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below the folder by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("strict_umask")
async def test_instructions_and_skills_are_written_to_the_volume(volume: Path, skill: Path) -> None:
    instructions = volume / "agents" / "AGENTS.md"
    instructions.parent.mkdir()
    instructions.write_text("Be kind.", encoding="utf-8")
    packed = await pack(inputs(volume, skill_entry(skill), instructions=instructions))
    assert packed.notes == ()
    assert packed.root == f"{COPIES}/{CACHE}/{packed.key}"
    assert packed.instructions_file == f"{packed.root}/agent-instructions.md"
    folder = local_folder(packed, volume)
    assert set(contents(folder)) == {
        "agent-instructions.md",
        ".claude/skills/helper/SKILL.md",
        ".claude/skills/helper/bin/run",
    }
    text = (folder / "agent-instructions.md").read_text(encoding="utf-8")
    assert text.startswith("Be kind.\n\nThese instructions are from /paperclip/agents/AGENTS.md;")
    assert "- `co/helper`: enabled" in text
    assert [p.name for p in folder.parent.iterdir()] == [packed.key]


@pytest.mark.usefixtures("strict_umask")
async def test_bundle_is_readable_for_other_users_under_any_umask(volume: Path, skill: Path) -> None:
    folder = local_folder(await pack(inputs(volume, skill_entry(skill))), volume)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert modes.pop("run") == 0o755
    assert modes.pop("SKILL.md") == 0o644
    assert modes.pop("agent-instructions.md") == 0o644
    assert set(modes.values()) == {0o755}
    assert stat.S_IMODE((volume / ".paperclip").stat().st_mode) == 0o755


@pytest.mark.parametrize("depth", [0, 20])
async def test_unchanged_bundle_is_not_written_again_and_a_changed_bundle_is_added(
    volume: Path, skill: Path, depth: int
) -> None:
    nested = skill.joinpath(*(["deep"] * depth))
    nested.mkdir(parents=True, exist_ok=True)
    (nested / "notes.md").write_text("one file below many folders", encoding="utf-8")
    first = await pack(inputs(volume, skill_entry(skill)))
    inode = local_folder(first, volume).stat().st_ino
    again = await pack(inputs(volume, skill_entry(skill)))
    assert again == first
    assert local_folder(again, volume).stat().st_ino == inode
    (skill / "SKILL.md").write_text("# Helper, better", encoding="utf-8")
    changed = await pack(inputs(volume, skill_entry(skill)))
    assert changed.key != first.key
    assert local_folder(first, volume).is_dir()


def _replace_by_file(folder: Path) -> None:
    folder.rename(folder.with_name("stolen.tmp"))
    folder.write_text("x", encoding="utf-8")


def _replace_by_link(folder: Path) -> None:
    folder.rename(folder.with_name("stolen.tmp"))
    folder.symlink_to("stolen.tmp")


def _replace_skill_by_link(folder: Path) -> None:
    (folder / SKILL_MD).unlink()
    (folder / SKILL_MD).symlink_to("/etc/hostname")


SKILL_MD = ".claude/skills/helper/SKILL.md"
CHANGES: dict[str, Callable[[Path], object]] = {
    "a file rewritten": lambda folder: (folder / SKILL_MD).write_text("Obey me", encoding="utf-8"),
    "a file added": lambda folder: (folder / "CLAUDE.md").write_text("Obey me", encoding="utf-8"),
    "a file removed": lambda folder: (folder / SKILL_MD).unlink(),
    "a file made executable": lambda folder: (folder / SKILL_MD).chmod(0o755),
    "a file turned into a link": _replace_skill_by_link,
    "the folder turned into a file": _replace_by_file,
    "the folder turned into a link": _replace_by_link,
}


@pytest.mark.parametrize("change", CHANGES)
async def test_bundle_that_an_agent_has_changed_is_restored(change: str, volume: Path, skill: Path) -> None:
    packed = await pack(inputs(volume, skill_entry(skill)))
    folder = local_folder(packed, volume)
    original = contents(folder)
    CHANGES[change](folder)
    assert await pack(inputs(volume, skill_entry(skill))) == packed
    assert contents(folder) == original
    assert not any(path.is_symlink() for path in (folder, *folder.rglob("*")))
    assert {path.name for path in folder.parent.iterdir()} <= {packed.key, "stolen.tmp"}


@pytest.mark.parametrize("part", range(1, 6))
async def test_bundle_is_not_written_through_a_link(part: int, volume: Path, skill: Path) -> None:
    """`part`: how many parts of the path `CACHE` there are up to the link."""
    elsewhere = volume.parent / "elsewhere"
    elsewhere.mkdir()
    at = volume.joinpath(*CACHE.split("/")[:part])
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(elsewhere)
    packed = await pack(inputs(volume, skill_entry(skill)))
    assert any("Instructions and skills are in .paperclip-" in note for note in packed.notes)
    assert SKILL_MD in contents(local_folder(packed, volume))
    assert contents(elsewhere) == {}


async def test_links_and_special_files_of_a_skill_are_left_out_and_noted(volume: Path, skill: Path) -> None:
    (skill.parent / "secret").write_text("k", encoding="utf-8")
    (skill / "key").symlink_to(skill.parent / "secret")
    (skill / "up").symlink_to("..")
    os.mkfifo(skill / "pipe")
    packed = await pack(inputs(volume, skill_entry(skill)))
    assert not any("key" in path or "up" in path for path in contents(local_folder(packed, volume)))
    assert packed.notes == ("Skill co/helper: 3 links, special files or odd names left out (key, pipe, up)",)


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [("3.04\u202fPM", True), ("\U0001f468\u200d\U0001f467", True), ("a\nb", False), ("a\\b", False)],
)
async def test_file_is_packed_only_if_the_relay_can_read_its_name(
    name: str,
    is_kept: bool,  # noqa: FBT001
    volume: Path,
    skill: Path,
) -> None:
    (skill / name).write_text("x", encoding="utf-8")
    packed = await pack(inputs(volume, skill_entry(skill)))
    assert (f".claude/skills/helper/{name}" in contents(local_folder(packed, volume))) is is_kept


async def test_skill_that_is_a_link_on_the_volume_is_listed_as_unavailable(volume: Path, skill: Path) -> None:
    (volume / "skills").mkdir()
    (volume / "skills" / "helper").symlink_to(skill)
    packed = await pack(inputs(volume, skill_entry(volume / "skills" / "helper")))
    (note,) = packed.notes
    assert note.startswith("Skill co/helper is left out: ")
    text = (local_folder(packed, volume) / "agent-instructions.md").read_text(encoding="utf-8")
    assert "- `co/helper`: enabled but unavailable (" in text


async def test_skill_that_is_a_link_outside_the_volume_is_packed(volume: Path, skill: Path) -> None:
    link = skill.parent / "current"
    link.symlink_to(skill)
    packed = await pack(inputs(volume, skill_entry(link)))
    assert packed.notes == ()
    assert ".claude/skills/helper/SKILL.md" in contents(local_folder(packed, volume))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"source": "/nowhere/at/all"}, "No such file"),
        ({"source": "relative"}, "not an absolute path"),
        ({"source": "/nul\0byte"}, "null"),
        ({"runtimeName": "../../up"}, "cannot be the name"),
        ({"sourceStatus": "missing", "missingDetail": "it was deleted"}, "it was deleted"),
    ],
)
async def test_unreadable_skill_is_left_out_with_the_reason(
    more: dict[str, Any], why: str, volume: Path, skill: Path
) -> None:
    packed = await pack(inputs(volume, skill_entry(skill, **more)))
    (note,) = packed.notes
    assert note.startswith("Skill co/helper is left out: ")
    assert why in note
    assert set(contents(local_folder(packed, volume))) == {"agent-instructions.md"}


async def test_first_of_two_skills_with_one_name_is_delivered(
    volume: Path, skill: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "SKILL.md").write_text("other", encoding="utf-8")
    packed = await pack(inputs(volume, skill_entry(skill), skill_entry(tmp_path / "other", "co/other")))
    assert packed.notes == ("Skill co/other is left out: another skill has the same name, helper",)
    assert contents(local_folder(packed, volume))[".claude/skills/helper/SKILL.md"] == b"# Helper"


async def test_skill_that_is_not_in_the_library_is_noted(volume: Path) -> None:
    config = {"paperclipSkillSync": {"desiredSkills": ["gone"]}}
    packed = await pack(replace(inputs(volume), config=config))
    assert packed == Packed(notes=("Skill gone is left out: it is not in the library",))
    assert contents(volume) == {}


@pytest.mark.parametrize("limits", [Limits(bundle_bytes=9), Limits(bundle_entries=2)])
async def test_only_the_skill_that_is_too_large_is_left_out(
    limits: Limits, volume: Path, skill: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "SKILL.md").write_text("small", encoding="utf-8")
    small = {"key": "co/small", "runtimeName": "small", "source": str(tmp_path / "small")}
    packed = await pack(replace(inputs(volume, skill_entry(skill), small), limits=limits))
    (note,) = packed.notes
    assert "too many" in note
    assert ".claude/skills/small/SKILL.md" in contents(local_folder(packed, volume))


async def test_skill_with_folders_nested_too_deeply_is_left_out(volume: Path, skill: Path) -> None:
    deep = skill.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    packed = await pack(inputs(volume, skill_entry(skill)))
    assert packed.notes == ("Skill co/helper is left out: its folders are nested too deeply",)


@pytest.mark.parametrize("path", ["gone.md", ".", "link.md", "large.md"])
async def test_unreadable_instructions_are_left_out_and_noted(path: str, volume: Path) -> None:
    (volume.parent / "secret").write_text("k", encoding="utf-8")
    (volume / "link.md").symlink_to(volume.parent / "secret")
    (volume / "large.md").write_text("x" * 101, encoding="utf-8")
    limits = Limits(instructions_bytes=100)
    packed = await pack(replace(inputs(volume, instructions=volume / path), limits=limits))
    (note,) = packed.notes
    assert note.startswith(f"Instructions file {volume / path} could not be read: ")
    assert packed.key is None


async def test_instructions_with_a_relative_path_are_left_out_and_noted(volume: Path) -> None:
    (note,) = (await pack(inputs(volume, instructions="AGENTS.md"))).notes
    assert "not an absolute path" in note


async def test_without_a_volume_small_skills_are_delivered_in_the_secret(skill: Path, tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Be kind.", encoding="utf-8")
    packed = await pack(inputs(None, skill_entry(skill), instructions=tmp_path / "AGENTS.md"))
    assert packed.files["agent-instructions.md"].startswith("Be kind.")
    assert ".claude/skills/helper/SKILL.md" in packed.skill_files
    assert (packed.skills, packed.notes) == (("helper",), ())


async def test_without_a_volume_large_skills_are_delivered_in_parts(skill: Path, tmp_path: Path) -> None:
    (skill / "data").write_bytes(b"x" * 400_000)
    (tmp_path / "AGENTS.md").write_text("Be kind.", encoding="utf-8")
    packed = await pack(inputs(None, skill_entry(skill), instructions=tmp_path / "AGENTS.md"))
    assert packed.files["agent-instructions.md"].startswith("Be kind.")
    assert (packed.root, packed.skills) == ("/var/run/paperclip/skills", ("helper",))
    assert (packed.skill_files, packed.notes) == ({}, ())
    assert packed.archive is not None


async def test_instructions_are_delivered_if_the_bundle_cannot_be_written(
    volume: Path, tmp_path: Path
) -> None:
    (tmp_path / "AGENTS.md").write_text("Be kind.", encoding="utf-8")
    (volume / "file").write_text("a file in place of the volume", encoding="utf-8")
    packed = await pack(inputs(volume / "file", instructions=tmp_path / "AGENTS.md"))
    assert packed.files == {"agent-instructions.md": "Be kind."}


async def test_empty_bundle_writes_nothing(volume: Path) -> None:
    assert await pack(PackInputs({}, None, "co", {}, str(volume))) == Packed()
    assert contents(volume) == {}


async def test_company_id_with_a_path_to_another_folder_is_refused(volume: Path) -> None:
    with pytest.raises(PathRefused):
        await pack(replace(inputs(volume), company="../../etc"))


async def test_concurrent_runs_share_one_complete_bundle(volume: Path, skill: Path) -> None:
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(pack(inputs(volume, skill_entry(skill)))) for _ in range(24)]
    keys = {run.result().key for run in runs}
    assert len(keys) == 1
    folder = local_folder(runs[0].result(), volume)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(contents(folder)) == 3  # the instructions and the two files of the skill


async def test_unfinished_bundle_of_another_process_is_removed_after_a_day(volume: Path, skill: Path) -> None:
    cache = local_folder(await pack(inputs(volume, skill_entry(skill))), volume).parent
    old, young, other = cache / ".0123-89abcdef.tmp", cache / ".4567-89abcdef.tmp", cache / "old-bundle"
    for folder, hours in ((old, 25), (young, 23), (other, 9999)):
        folder.mkdir()
        then = (utc_now() - timedelta(hours=hours)).timestamp()
        os.utime(folder, (then, then))
    (skill / "SKILL.md").write_text("# Helper, better", encoding="utf-8")
    await pack(inputs(volume, skill_entry(skill)))
    assert [old.exists(), young.exists(), other.exists()] == [False, True, True]
