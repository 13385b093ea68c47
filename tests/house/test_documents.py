"""The documents name only files that exist, and README.md links every reference page."""

import re
from pathlib import Path

import pytest
from tests.wheel_examples import examples

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "paperclip_claude_k8s"
DOCS = sorted((SOURCE / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "tests" / "README.md", ROOT / "tests" / "perf" / "README.md"]
FILE_IN_TEXT = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|sh|cjs|md))(?:`|[:#])")
LINK_TARGET = re.compile(r"\]\(([^)#:]+)(?:#[\w-]*)?\)")
FILE_NAMES = {path.name for top in ("src", "tests") for path in (ROOT / top).rglob("*") if path.is_file()}


def _exists(name: str, page: Path) -> bool:
    """Return whether there is a file at this path, or in any folder a file of this name."""
    folders = [ROOT, SOURCE, ROOT / "tests", page.parent]
    return name in FILE_NAMES or any((folder / name).is_file() for folder in folders)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_in_a_document_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(FILE_IN_TEXT.findall(text)) - set(examples(text))  # an example is a file of its reader
    assert {name for name in named if not _exists(name, page)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_targets_of_a_document_exist(page: Path) -> None:
    linked = LINK_TARGET.findall(page.read_text(encoding="utf-8"))
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_readme_links_every_document_and_stays_short() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in DOCS if f"docs/{page.name})" not in readme] == []
    assert len(readme.splitlines()) <= 150


def test_glossary_has_at_most_thirty_entries() -> None:
    text = (SOURCE / "docs" / "architecture.md").read_text(encoding="utf-8")
    glossary = text.partition("## Glossary")[2]
    assert 0 < len(re.findall(r"^\| (?!word|---)", glossary, re.MULTILINE)) <= 30
