"""Rules of the code base that no linter checks: sizes, names, the order of steps, what may be used where."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from paperclip_claude_k8s.error_codes import ErrorCode

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "paperclip_claude_k8s"
MODULES = sorted(SOURCE.rglob("*.py"))


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in MODULES:
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def test_error_codes_are_used_by_the_failures_module_only() -> None:
    violations = {
        str(path)
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "ErrorCode"
        and path.name not in {"failures.py", "error_codes.py"}
    }
    assert violations == set()


def test_failures_are_built_by_the_failures_module_only() -> None:
    violations = {
        str(path)
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Failure"
        and path.name not in {"failures.py", "error_codes.py"}
    }
    assert violations == set()


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_every_error_code_is_used_by_the_failures_module(code: ErrorCode) -> None:
    source = (SOURCE / "failures.py").read_text(encoding="utf-8")
    assert source.count(f"ErrorCode.{code.name}") >= 1, f"{code} is not used"


WRITING_CALL = re.compile(
    r"os\.(open\((?!.*O_RDONLY)|write|pwrite|truncate|ftruncate|fsync|replace|rename)"
    r"|\.(write_text|write_bytes|touch|mkdir|rename|chmod|truncate)\(|open\([^)]*[\"'][wax+]"
)
"""Matches a line that writes to the disk without the disk module."""


def test_run_files_are_written_through_the_disk_module() -> None:
    """Through this module tests can make each write fail."""
    runs = SOURCE / "cli" / "runs"
    violations = {
        f"{path.name}: {line.strip()}"
        for path in runs.glob("*.py")
        if path.name != "disk.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if WRITING_CALL.search(line)
    }
    assert violations == set()


def _count_lines(lines: list[str]) -> int:
    """Return the number of lines that are neither blank nor a comment."""
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def test_files_are_short() -> None:
    lengths = {str(path): _count_lines(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > 350} == {}


def test_classes_are_short() -> None:
    classes = {
        f"{path}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert {name: length for name, length in classes.items() if length >= 150} == {}


def test_module_names_are_unique() -> None:
    names = Counter(path.stem for path in MODULES if not path.stem.startswith("__"))
    names.update(path.parent.name for path in MODULES if path.name == "__init__.py")
    assert {name: count for name, count in names.items() if count > 1} == {}


STEPS = {
    "_execute": (
        *("read_context", "Narrator", "identity_of", "read_config", "with_stop_signal", "begin_run", "ports"),
        *("acquire", "prepare", "hold_slot", "launch", "release", "_run_attempt"),
    ),
    "_run_attempt": (
        *("JobCleanup", "_report_launch", "observe", "still_ours", "classify_run", "needs_fresh_session"),
        *("result_of", "ended", "RunEnd", "remove_run_log", "usage_of"),
    ),
}
"""Function → its steps: names of calls, in the order in which the calls end (those in arguments first)."""


@pytest.mark.parametrize("name", STEPS)
def test_steps_of_a_run_are_in_order_in_short_functions(name: str) -> None:
    tree = ast.parse((SOURCE / "execute.py").read_text(encoding="utf-8"))
    (function,) = (
        node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == name
    )
    assert (function.end_lineno or 0) - function.lineno <= 40
    calls = sorted(
        (node.end_lineno or 0, node.end_col_offset or 0, ast.unparse(node.func).rpartition(".")[2])
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
    )
    steps = [call for _, _, call in calls if call in STEPS[name]]
    assert list(dict.fromkeys(steps)) == list(STEPS[name])


FORMER_NAMES = re.compile(
    r"apologize|barren|chronicle|concede|crew|crossing|deaf|discretion|ears|excuse|fates?|furnish|heard|heed|heeding"
    r"|hurry|intake|landlord|leftovers|mending|mender|mischief|news|obey|rehearsal|rivals?|said|salvage|shelf"
    r"|sighting|spout|stray|suspect|tenancy|tenure|told|tolerate|torso|trail|trees|unwritten|vigil|weigh|whoami"
    r"|wish|words"
)
"""Former names, which mean nothing to a reader who knows Kubernetes and asyncio."""


def _defined_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def test_former_names_are_not_used() -> None:
    found = {
        f"{path}: {name}"
        for path, tree in _trees()
        for name in (path.stem, *_defined_names(tree))
        if FORMER_NAMES.fullmatch(name.strip("_").lower())
    }
    assert found == set()


CITATION = re.compile(r"SPEC|HOST\.md|HOUSE|PEERS|EVENTS\.md|\bseed \d|\bthe seeds\b|\bspec_\d")
"""Matches a reference to a document that is not in the repository."""


def test_no_document_outside_the_repository_is_cited() -> None:
    texts = [*SOURCE.rglob("*"), *(ROOT / "tests").rglob("*"), ROOT / "README.md"]
    found = {
        f"{path.relative_to(ROOT)}: {citation[0]}"
        for path in texts
        if path.suffix in {".py", ".md", ".sh", ".cjs", ".mjs", ".js"} and path != Path(__file__)
        for citation in CITATION.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize("heavy", ["kubernetes_asyncio", "aiohttp", "pydantic", "typer", "rich"])
def test_importing_the_package_loads_no_heavy_module(heavy: str) -> None:
    check = f"import paperclip_claude_k8s, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_creating_the_adapter_does_not_load_the_kubernetes_client() -> None:
    check = (
        "import paperclip_claude_k8s as p, sys; p.create_server_adapter();"
        "sys.exit('kubernetes_asyncio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
