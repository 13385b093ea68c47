"""A folder rule compares real paths, even if the paths in the rule lead through links."""

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
def test_rule_whose_paths_lead_through_a_link_refuses_the_folders_themselves_only(
    name: str,
    allowed: bool,  # noqa: FBT001
    homes: Path,
) -> None:
    rule = FolderRule(refused_themselves=(str(homes), f"{homes}/*"))
    assert rule.allows(str((homes / name).resolve())) == allowed
    assert rule.allows_name(str(homes / name)) == allowed
