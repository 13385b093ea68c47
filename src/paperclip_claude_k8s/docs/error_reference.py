"""Renders `errors.md` from its own introduction and `errors.toml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.toml_tables import entries_under_headings
from paperclip_claude_k8s.error_codes import ErrorCode, Evidence
from paperclip_claude_k8s.host.result import ErrorFamily

_PAGE = Path(__file__).with_name("errors.md")
_CONDITIONS = {
    "bootstrap": "it is certain that the agent did not run",
    "interrupted": "the agent's Pod is known to be gone",
}
"""Evidence that only some failures with a code have → its condition."""


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """How the page describes one error code.

    If several situations have the same code, `families`, `evidence` and `clears_session` contain all values
    that occur, and `retry_if` is the condition under which the host retries.
    """

    group: str
    """The phase of the run, which is the heading above the code."""
    happened: str
    action: str
    evidence: tuple[Evidence, ...] = ("continuation",)
    families: tuple[ErrorFamily | None, ...] = (None,)
    retry_if: str = ""
    clears_session: tuple[bool, ...] = (False,)
    session: str = ""
    """What happens to the session; "" if that follows from `clears_session` and `evidence`."""


def read_descriptions() -> dict[ErrorCode, ErrorDescription]:
    """Return the descriptions of all codes, in the order of `errors.toml`."""
    text = _PAGE.with_suffix(".toml").read_text(encoding="utf-8")
    return {
        ErrorCode(entry.pop("code")): _description(group, entry)
        for group, entry in entries_under_headings(text)
    }


def _description(group: str, entry: dict[str, Any]) -> ErrorDescription:
    families = tuple(family or None for family in entry.pop("families", [""]))  # TOML has no null
    lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
    return ErrorDescription(group, families=families, **{**entry, **lists})


def error_reference() -> str:
    """Return the page: its introduction unchanged, then one section for each code, by phase of the run."""
    introduction, _, _ = _PAGE.read_text(encoding="utf-8").partition("\n## ")
    return "".join((introduction, *_sections()))


def _sections() -> Iterator[str]:
    group = ""
    for code, description in read_descriptions().items():
        if description.group != group:
            group = description.group
            yield f"\n## {group}\n"
        yield f"\n### `{code}`\n\n{description.happened}\n\n"
        yield f"- Family: {_family(description)}\n"
        yield f"- Evidence: {_evidence(description)}\n"
        yield f"- Session: {_session(description)}\n"
        yield f"- What to do: {description.action}\n"


def _family(description: ErrorDescription) -> str:
    families = [f"`{family}`" for family in description.families if family is not None]
    condition = f" if {description.retry_if}, else none" if description.retry_if else ""
    return f"{' or '.join(families)}{condition}" if families else "none"


def _evidence(description: ErrorDescription) -> str:
    first, *alternatives = description.evidence
    return f"`{first}` if {_CONDITIONS[first]}, else `{alternatives[0]}`" if alternatives else f"`{first}`"


def _session(description: ErrorDescription) -> str:
    """Return what happens to the session that the run resumed or started."""
    if description.session:
        return description.session
    if all(description.clears_session):
        return "cleared; the next run starts a fresh one"
    only_bootstrap = description.evidence == ("bootstrap",)
    return (
        "unchanged, because the agent did not run" if only_bootstrap else "kept; the next run can resume it"
    )
