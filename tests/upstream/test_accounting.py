"""Every test case of the TypeScript adapter has a test here that agrees, or a row of `differences.md`.

`differences.md` names the version of the TypeScript adapter, and lists what differs from it on purpose.

`cases/` has a file for each test file of the TypeScript adapter. A table is a group of cases: `cases` is
their number, `agree` lists cases with the test here that checks each, and `differ` lists cases with the
beginning of the row that explains each.
"""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

FOLDER = Path(__file__).parent
SIZES = {
    "catalogue": 27,
    "execute": 97,
    "format-event": 27,
    "job-manifest": 113,
    "log-dedup": 17,
    "parse": 45,
    "session": 33,
    "ui-parser": 20,
}
"""Test file of the TypeScript adapter → number of its cases; `catalogue` stands for four small ones."""
GROUPS: dict[str, dict[str, Any]] = {
    f"{file}/{name}": group
    for file in SIZES
    for name, group in tomllib.loads((FOLDER / "cases" / f"{file}.toml").read_text(encoding="utf-8")).items()
}


TESTS = {
    node.name
    for path in FOLDER.glob("test_*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
}


@pytest.mark.parametrize("file", SIZES)
def test_all_cases_of_a_file_are_listed(file: str) -> None:
    assert sum(group["cases"] for name, group in GROUPS.items() if name.startswith(f"{file}/")) == SIZES[file]


@pytest.mark.parametrize("name", GROUPS)
def test_every_case_of_a_group_agrees_or_differs(name: str) -> None:
    group = GROUPS[name]
    agreeing, differing = group.get("agree", []), group.get("differ", [])
    assert len({case for case, _ in [*agreeing, *differing]}) == group["cases"]
    assert [test for _, test in agreeing if test not in TESTS] == []
    for _, row in differing:
        assert_typescript_adapter_differs(row)
