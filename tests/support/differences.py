"""The rows of `differences.md`, for tests of what this adapter does differently from the TypeScript one."""

from pathlib import Path

PAGE = Path(__file__).parents[2] / "src" / "paperclip_claude_k8s" / "docs" / "differences.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


def assert_typescript_adapter_differs(beginning: str) -> None:
    """Check that a row of differences.md begins with these words about the TypeScript adapter."""
    found = [row for row in ROWS if row.startswith(f"| {beginning}")]
    assert len(found) == 1, f"{len(found)} rows of differences.md begin with {beginning!r}"
