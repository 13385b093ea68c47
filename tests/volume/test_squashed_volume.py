"""A network volume that gives everything to one user, whoever creates it (e.g. NFS with `all_squash`)."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from paperclip_claude_k8s.volume.packing import PackInputs, pack

OWNER = 50_000
"""Uid of the user to whom the volume gives everything."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike `tmp_path`."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files as another user")
async def test_bundle_is_written_and_used_again(open_folder: Path) -> None:
    volume, skill = open_folder / "volume", open_folder / "helper"
    for folder in (volume, skill):
        folder.mkdir()
        folder.chmod(0o777)
    (skill / "SKILL.md").write_text("# Helper", encoding="utf-8")
    # what a thread creates belongs to its file system uid, while the process stays root
    squashed = partial(ctypes.CDLL(None).setfsuid, OWNER)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, initializer=squashed))
    entry = {"key": "co/helper", "runtimeName": "helper", "source": str(skill)}
    config = {"paperclipRuntimeSkills": [entry], "paperclipSkillSync": {"desiredSkills": ["co/helper"]}}
    inputs = PackInputs(config, None, "co", {}, str(volume))
    first, again = await pack(inputs), await pack(inputs)
    assert first == again
    assert first.notes == ()
    assert [path.name for path in volume.iterdir()] == [".paperclip"]
    assert (volume / ".paperclip").stat().st_uid == OWNER
    assert len(list(volume.rglob("SKILL.md"))) == 1
