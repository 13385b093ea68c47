"""Rules about folders compare real paths, whatever links an administrator's paths lead through."""

from pathlib import Path

import pytest

from paperclip_claude_k8s.base.folder_rules import FolderRule


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """A link `home` to the folder in which the users' homes are."""
    (tmp_path / "data" / "ann" / "volume").mkdir(parents=True)
    (tmp_path / "home").symlink_to("data")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("name", "allowed"), [("", False), ("ann", False), ("ann/volume", True), ("ann/volume/x", True)]
)
def test_folder_that_is_itself_refused_may_be_reached_by_a_link(
    name: str,
    allowed: bool,  # noqa: FBT001
    homes: Path,
) -> None:
    rule = FolderRule(refused_themselves=(str(homes), f"{homes}/*"))
    assert rule.allows(str((homes / name).resolve())) == allowed
    assert rule.allows_name(str(homes / name)) == allowed
