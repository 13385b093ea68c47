"""`tests/FAILURES.md` has every row, and the tests that it names exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROW_COUNTS = {"W": 11, "S": 12, "E": 12, "D": 7, "H": 13}
"""Letter of a table in `FAILURES.md` → number of its rows."""


def test_every_test_named_in_the_table_exists() -> None:
    named = set(re.findall(r"\btest_\w+", (TESTS / "FAILURES.md").read_text(encoding="utf-8")))
    existing = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert named - existing - {Path(__file__).stem} == set()


def test_table_has_every_row() -> None:
    found = re.findall(
        r"^\| ([WSEDH]\d+) \|", (TESTS / "FAILURES.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found == [
        f"{letter}{number}" for letter, count in ROW_COUNTS.items() for number in range(1, count + 1)
    ]
