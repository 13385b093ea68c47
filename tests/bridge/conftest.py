"""The fixture `shim`: the npm package in a folder."""

import sys
from pathlib import Path

import pytest

from paperclip_claude_k8s.bridge.package import write_package


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """The folder of a package that starts this Python."""
    write_package(tmp_path / "shim", sys.executable)
    return tmp_path / "shim"
