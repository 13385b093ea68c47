"""Lists the captures (recorded runs of the Claude CLI), for tests that examine all of them."""

from pathlib import Path
from typing import Any

from paperclip_claude_k8s.testing import CAPTURE_VERSIONS, capture, capture_facts, capture_names

CAPTURES = Path(__file__).parents[2] / "src" / "paperclip_claude_k8s" / "testing" / "captures"
OLD, NEW = CAPTURE_VERSIONS
"""The two versions of the Claude CLI that have captures."""
NAMES = capture_names(OLD)
"""Names of the captures of `OLD`."""
ALL = [(version, name) for version in CAPTURE_VERSIONS for name in capture_names(version)]
"""(version, name) of every capture."""


def recorded(name: str, version: str = OLD) -> tuple[bytes, dict[str, Any]]:
    """The stdout of a capture, and its description: the JSON file beside it."""
    return capture(name, version), capture_facts(name, version)


def capture_file(number: str) -> str:
    """The name of the uncompressed file of the capture of `OLD` with this number."""
    (name,) = (name for name in NAMES if name.startswith(f"{number}-"))
    return f"{name}.ndjson"
