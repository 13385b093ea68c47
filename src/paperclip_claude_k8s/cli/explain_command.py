"""`claude-k8s explain`: explains a word, from the tables of the documentation.

Error codes, settings and fields of the policy have a table each (`docs/errors.toml`, `host/settings.toml`,
`host/policy.toml`). Everything else is found in the first column of the tables of the pages in `docs/`:
codes of `check`, errors of commands, labels, phases, events, metrics, warnings, variables and terms of the
glossary.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import partial
from importlib.resources import files

from pydantic.alias_generators import to_snake

from paperclip_claude_k8s.base.toml_tables import entries_under_headings
from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_reply
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.runs.replies import Reply
from paperclip_claude_k8s.cli.text_tables import terminal_width
from paperclip_claude_k8s.host.config import older_names
from paperclip_claude_k8s.host.fields import SETTINGS
from paperclip_claude_k8s.host.form import shown_default
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS

MAX_WIDTH = 100
"""Longest line of an explanation, in characters."""
SKIPPED_PAGES = frozenset(
    {"cli-events.md", "configuration.md", "differences.md", "policy.md", "security-attempts.md"}
)
"""Pages whose tables explain no terms, or only terms that another table explains."""
_DOCS = files("paperclip_claude_k8s.docs")
_CODE_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a word in one table."""

    terms: tuple[str, ...]
    """The word, and others with the same meaning."""
    kind: str
    """What the word is, such as `error code`; for a row of a page, the heading above the row's table."""
    text: str
    """Sentences in Markdown; each line is a paragraph."""
    page: str
    """Page of the documentation with more about the word."""


def explain(word: str, output: Format | None) -> int:
    """Print the explanations of the word. Exit code 1, and similar terms, if the word is not known."""
    wanted = word.strip().strip("`").casefold()
    known = _all_explanations()
    found = [item for item in known if any(_matches(term, wanted) for term in item.terms)]
    if not found:
        return print_reply(_unknown(word, known), FAILED, output)
    reply = {"word": word, "explanations": [asdict(item) for item in found]}
    return print_reply(reply, DONE, output, partial(_text, found))


def known_words() -> list[str]:
    """All terms that a shell can complete: codes, settings, labels; no phrases, and no terms with `…`."""
    terms = {term for item in _all_explanations() for term in item.terms}
    return sorted(term for term in terms if not term.endswith("…") and len(term.split()) == 1)


def _all_explanations() -> list[Explanation]:
    return [*_error_codes(), *_settings(), *_policy_fields(), *_table_rows()]


def _matches(term: str, wanted: str) -> bool:
    """Whether a term of a table is the wanted word. `k8s_rbac_…` stands for all words that begin so."""
    folded = term.casefold()
    return folded == wanted or (folded.endswith("…") and len(folded) > 1 and wanted.startswith(folded[:-1]))


def _unknown(word: str, known: Iterable[Explanation]) -> Reply:
    terms = sorted({term for item in known for term in item.terms})
    close = get_close_matches(word[:100], terms, n=5, cutoff=0.6)
    hint = (
        f"did you mean {', '.join(close)}?" if close else "try an error code, a setting or a code of `check`"
    )
    return {"status": "failed", "error": "unknown_word", "detail": f"{word[:100]!r} is not explained; {hint}"}


def _error_codes() -> Iterator[Explanation]:
    table = _DOCS.joinpath("errors.toml").read_text(encoding="utf-8")
    for group, entry in entries_under_headings(table):
        text = f"{entry['happened'].strip()}\nWhat to do: {entry['action'].strip()}"
        yield Explanation((entry["code"],), f"error code, {group[0].lower()}{group[1:]}", text, "errors.md")


def _settings() -> Iterator[Explanation]:
    for setting in SETTINGS:
        terms = tuple(dict.fromkeys((setting.key, setting.name, *older_names(setting.key))))
        default = shown_default(setting)
        facts = f"Type: {setting.type_name}. {f'Default: {default}.' if default else 'No default.'}"
        text = "\n".join(filter(None, (setting.hint, facts, " ".join(setting.details.split()))))
        yield Explanation(terms, f"setting, {setting.group.lower()}", text, "configuration.md")


def _policy_fields() -> Iterator[Explanation]:
    for field in POLICY_FIELDS:
        terms = tuple(dict.fromkeys((field.key, to_snake(field.key))))
        yield Explanation(terms, "field of the policy", f"{field.effect}\n{field.reason}", "policy.md")


def _table_rows() -> Iterator[Explanation]:
    """Rows of all tables in the pages, whose first cell has the terms."""
    for page in sorted(_DOCS.iterdir(), key=lambda page: page.name):
        if page.name.endswith(".md") and page.name not in SKIPPED_PAGES:
            yield from _rows_of(page.name, page.read_text(encoding="utf-8"))


def _rows_of(page: str, text: str) -> Iterator[Explanation]:
    heading, columns = "", list[str]()
    for line in text.splitlines():
        if line.startswith("#"):
            heading, columns = line.lstrip("# "), []
        elif not line.startswith("|"):
            columns = []
        elif not columns:
            columns = _cells(line)
        elif not set(line) <= set("|-: ") and (terms := _terms_of(_cells(line)[0])):
            cells = zip(columns[1:], _cells(line)[1:], strict=False)
            plain = [cell if len(columns) == 2 else f"{name}: {cell}" for name, cell in cells if cell]
            yield Explanation(terms, heading, "\n".join(plain), page)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL_BORDER.split(line.strip().strip("|"))]


def _terms_of(cell: str) -> tuple[str, ...]:
    """The terms that a first cell explains: its code spans, else the cell if it is short."""
    return tuple(_CODE_SPAN.findall(cell) or ([cell] if 0 < len(cell.split()) <= 3 else []))


def _text(found: Iterable[Explanation], output: Format) -> str:
    if output is Format.NAME:
        return "\n".join(item.terms[0] for item in found)
    return "\n\n".join("\n".join(_paragraphs(item)) for item in found)


def _paragraphs(item: Explanation) -> Iterator[str]:
    yield f"{', '.join(item.terms)}: {item.kind}"
    width = min(terminal_width() or MAX_WIDTH, MAX_WIDTH)
    for paragraph in (*item.text.split("\n"), f"See {item.page} in {_DOCS}"):
        plain = _CODE_SPAN.sub(r"\1", _LINK.sub(r"\1 (\2)", paragraph)).replace("\\|", "|")
        yield from textwrap.wrap(
            plain,
            width,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
            break_long_words=False,
        )
