"""`tests/FAILURES.md` has all its rows. Tests named there and in `docs/security-attempts.md` exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAILURES = TESTS / "FAILURES.md"
SECURITY_ATTEMPTS = TESTS.parent / "src" / "paperclip_claude_k8s" / "docs" / "security-attempts.md"
ROW_COUNTS = {"W": 11, "S": 12, "E": 12, "D": 7, "H": 13}
"""Letter of a table in `FAILURES.md` → number of its rows."""


@pytest.mark.parametrize("document", [FAILURES, SECURITY_ATTEMPTS], ids=lambda document: document.stem)
def test_every_test_named_in_a_table_exists(document: Path) -> None:
    named = set(re.findall(r"\btest_\w+", document.read_text(encoding="utf-8")))
    paths = list(TESTS.rglob("test_*.py"))
    existing = {path.stem for path in paths}
    for path in paths:
        existing |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    assert named
    assert named - existing == set()


def test_table_has_every_row() -> None:
    found = re.findall(r"^\| ([WSEDH]\d+) \|", FAILURES.read_text(encoding="utf-8"), re.MULTILINE)
    assert found == [
        f"{letter}{number}" for letter, count in ROW_COUNTS.items() for number in range(1, count + 1)
    ]
