"""Every requirement has a lower bound that CI tests, and every imported package is a requirement."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from tests.lowest_versions import PYPROJECT, constraints

PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
SOURCES = PYPROJECT.parent / "src"


def package_names(*requirements: str) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


def test_constraints_name_every_runtime_requirement() -> None:
    names = {constraint.split("==")[0].lower() for constraint in constraints()}
    assert package_names(*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"]) <= names


@pytest.mark.parametrize("requirement", ["aiohttp", "aiohttp<4", "aiohttp>=3,<4", "aiohttp==3"])
def test_requirement_without_a_plain_lower_bound_is_an_error(requirement: str, tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(
        f"[project]\ndependencies = ['{requirement}']\noptional-dependencies = {{}}\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="NAME>=VERSION"):
        list(constraints(file))


def test_every_imported_package_is_declared() -> None:
    modules = {
        name.split(".")[0]
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _imported(node)
    }
    distributions = packages_distributions()
    third_party = modules - set(sys.stdlib_module_names) - {"paperclip_claude_k8s"}
    extras = PROJECT["optional-dependencies"]
    optional = [
        requirement
        for extra in ("cli", "otel", "prometheus", "testing")
        for requirement in extras.get(extra, ())
    ]
    known = {name.replace("_", "-") for name in package_names(*PROJECT["dependencies"], *optional)}
    missing = {name for name in third_party if known.isdisjoint(_normalized(distributions[name]))}
    assert missing == set()


def _normalized(names: list[str]) -> set[str]:
    return {name.lower().replace("_", "-") for name in names}


def test_only_the_plugin_imports_packages_for_tests() -> None:
    for_tests = {"pytest", "pytest_asyncio", "looptime", "hypothesis"}
    importers = {
        path.name
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if {name.split(".")[0] for name in _imported(node)} & for_tests
    }
    assert importers == {"pytest_plugin.py"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
