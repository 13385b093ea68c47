"""The examples import only public names, and each public name is documented."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import paperclip_claude_k8s
from paperclip_claude_k8s import instrumentation
from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.bridge.methods import METHODS
from paperclip_claude_k8s.host.checkup import Check, Checkup, CheckupContext
from paperclip_claude_k8s.host.context import Agent, ExecutionContext, Runtime
from paperclip_claude_k8s.host.result import ExecutionResult, Usage
from paperclip_claude_k8s.replay import Transcript
from paperclip_claude_k8s.testing import AgentRunner, FinishedRun, HostLog, NamedFault, PodScript

PACKAGE = "paperclip_claude_k8s"
ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "src" / PACKAGE / "docs").glob("*.md")))
PUBLIC_MODULES = {f"{PACKAGE}.{name}" for name in ("helpers", "instrumentation", "replay", "testing")}
PUBLIC = {*(f"{PACKAGE}.{name}" for name in paperclip_claude_k8s.__all__), PACKAGE, *PUBLIC_MODULES}


def _examples() -> Iterator[tuple[str, str]]:
    """Yield name and source of each example: the example host, the package docstring, the documents."""
    yield "tests/example_host.py", (ROOT / "tests" / "example_host.py").read_text(encoding="utf-8")
    indented = re.findall(r"(?m)^(?: {4}.*\n|\n)+", paperclip_claude_k8s.__doc__ or "")
    yield "the package docstring", "\n".join(re.sub(r"(?m)^ {4}", "", block) for block in indented)
    for path in DOCUMENTS:
        for block in re.findall(r"(?ms)^```python\n(.*?)^```", path.read_text(encoding="utf-8")):
            yield path.name, block


EXAMPLES = list(_examples())


def _imported(source: str) -> set[str]:
    """Return the names that an example imports from the package; it need not be a complete program."""
    found = set(re.findall(rf"(?m)^\s*import ({PACKAGE}[\w.]*)", source))
    for module, names in re.findall(rf"(?m)^\s*from ({PACKAGE}[\w.]*) import ([\w, ]+)", source):
        is_public = module in PUBLIC_MODULES
        found |= {module} if is_public else {f"{module}.{name.strip()}" for name in names.split(",")}
    return found


@pytest.mark.parametrize(("name", "source"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_example_imports_public_names_only(name: str, source: str) -> None:
    assert _imported(source) - PUBLIC == set(), name


def test_package_docstring_has_an_example() -> None:
    (source,) = (source for name, source in EXAMPLES if name == "the package docstring")
    assert _imported(source) == {f"{PACKAGE}.create_server_adapter"}


@pytest.mark.parametrize("name", paperclip_claude_k8s.__all__)
def test_public_name_exists_and_is_listed_by_dir(name: str) -> None:
    assert getattr(paperclip_claude_k8s, name)
    assert name in dir(paperclip_claude_k8s)


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = paperclip_claude_k8s.nothing  # type: ignore[attr-defined]


def test_help_shows_every_public_name() -> None:
    page = subprocess.run(
        [sys.executable, "-c", f"import {PACKAGE}; help({PACKAGE})"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    expected = (set(paperclip_claude_k8s.__all__) - {"__version__"}) | {"VERSION", "host-protocol.md"}
    assert {name for name in expected if name not in page} == set()


def _undocumented(cls: type) -> Iterator[str]:
    """Yield the methods without a docstring, and the fields that no docstring follows."""
    (definition,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(definition, ast.ClassDef)
    for node, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not ast.get_docstring(node):
                yield node.name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                if not isinstance(following, ast.Expr):
                    yield name


DOCUMENTED = (
    *(Adapter, ExecutionContext, Agent, Runtime, ExecutionResult, Usage),
    *(CheckupContext, Checkup, Check),
    *(Transcript, HostLog, PodScript, AgentRunner, FinishedRun, NamedFault),
    *(instrumentation.RunInfo, *instrumentation.EVENT_TYPES),
    *(instrumentation.LogTotals, instrumentation.TokenTotals),
)


@pytest.mark.parametrize("cls", DOCUMENTED)
def test_public_class_documents_every_field_and_method(cls: type) -> None:
    names = {name for name in _undocumented(cls) if not name.startswith("_")}
    assert names - {"model_config", "LOGGER", "LEVEL", "TEXT"} == set()


def test_host_protocol_names_every_field_and_method() -> None:
    page = (ROOT / "src" / PACKAGE / "docs" / "host-protocol.md").read_text(encoding="utf-8")
    fields = {**ExecutionContext.model_fields, **ExecutionResult.model_fields}
    names = {field.alias or name for name, field in fields.items()}
    names |= {method.rpartition(".")[2] for method in METHODS}
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()


def _texts_about_public_modules() -> Iterator[str]:
    """From each document, yield the 900 characters before "every other module is private"."""
    documents = [path for path in DOCUMENTS if path.name in {"host-protocol.md", "building-hosts.md"}]
    pages = [path.read_text(encoding="utf-8") for path in documents]
    for text in (paperclip_claude_k8s.__doc__ or "", *pages):
        (before, *_) = re.split(r"(?i)every\s+other\s+module\s+is\s+private", text)
        assert before != text
        yield before[-900:]


def test_documents_name_the_same_public_modules() -> None:
    for text in _texts_about_public_modules():
        names = {module.rpartition(".")[2] for module in PUBLIC_MODULES}
        assert {name for name in names if not re.search(rf"`({PACKAGE}\.)?{name}`", text)} == set()
