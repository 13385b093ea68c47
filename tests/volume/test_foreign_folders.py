"""Instructions and skills are delivered even if folders of the volume belong to other users."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from paperclip_claude_k8s.plan.bundle import Packed
from paperclip_claude_k8s.volume.packing import PackInputs, pack

OWNER, OTHER = 50_000, 2000
"""User ids: that with which the host accesses the volume, and that of another user."""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files as another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike `tmp_path`."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def inputs(folder: Path) -> PackInputs:
    """Create a volume that everybody may write to, and a skill; return the input of `pack` for them."""
    for name in ("volume", "helper"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    (folder / "helper" / "SKILL.md").write_text("# Helper", encoding="utf-8")
    entry = {"key": "co/helper", "runtimeName": "helper", "source": str(folder / "helper")}
    config = {"paperclipRuntimeSkills": [entry], "paperclipSkillSync": {"desiredSkills": ["co/helper"]}}
    return PackInputs(config, None, "co", {}, str(folder / "volume"))


async def pack_as_owner(given: PackInputs) -> Packed:
    """Pack while this thread accesses files as the user `OWNER`; the process remains root.

    The threads that `pack` starts access files as `OWNER` too: a thread starts with the user of its starter.
    """
    set_user = ctypes.CDLL(None).setfsuid
    set_user(OWNER)
    try:
        return await pack(given)
    finally:
        set_user(0)


async def test_skill_is_delivered_if_files_get_another_owner_than_the_process(open_folder: Path) -> None:
    """Some network volumes give all new files to one user. Here root writes files that belong to `OWNER`."""
    given, volume = inputs(open_folder), open_folder / "volume"
    first, again = await pack_as_owner(given), await pack_as_owner(given)
    assert first == again
    assert first.notes == ()
    assert [path.name for path in volume.iterdir()] == [".paperclip"]
    assert (volume / ".paperclip").stat().st_uid == OWNER
    assert len(list(volume.rglob("SKILL.md"))) == 1


async def test_skill_is_delivered_if_the_only_writable_folder_belongs_to_another_user(
    open_folder: Path,
) -> None:
    given, volume = inputs(open_folder), open_folder / "volume"
    (volume / ".paperclip").mkdir()
    os.chown(volume / ".paperclip", OTHER, OTHER)
    (volume / ".paperclip").chmod(0o777)
    volume.chmod(0o755)
    packed = await pack_as_owner(given)
    assert packed.notes == ()
    assert packed.root is not None
    assert len(list(volume.rglob("SKILL.md"))) == 1
