"""Renders `errors.md` from its own introduction and `errors.toml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paperclip_claude_k8s.base.toml_tables import entries_under_headings
from paperclip_claude_k8s.error_codes import ErrorCode, Evidence
from paperclip_claude_k8s.host.result import ErrorFamily

_PAGE = Path(__file__).with_name("errors.md")
_PROVEN_IF = {
    "bootstrap": "it is proven that the agent did not run",
    "interrupted": "the agent's Pod is known to be gone",
}


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """How the page describes one code.

    Where a code is built in several situations, `families`, `evidence` and `clears_session` list all values
    that occur, and `retry_if` the condition under which the host retries.
    """

    group: str
    """Heading: the phase of the run."""
    happened: str
    action: str
    evidence: tuple[Evidence, ...] = ("continuation",)
    families: tuple[ErrorFamily | None, ...] = (None,)
    retry_if: str = ""
    clears_session: tuple[bool, ...] = (False,)
    session: str = ""
    """What happens to the session; "" if that follows from `clears_session` and `evidence`."""


def read_descriptions() -> dict[ErrorCode, ErrorDescription]:
    """All codes of `errors.toml`, in its order."""
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
    """The page: its introduction unchanged, then one section for each code, by phase of the run."""
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
    return f"`{first}` if {_PROVEN_IF[first]}, else `{alternatives[0]}`" if alternatives else f"`{first}`"


def _session(description: ErrorDescription) -> str:
    """What happens to the session that the run resumed or started."""
    if description.session:
        return description.session
    if all(description.clears_session):
        return "cleared; the next run starts a fresh one"
    only_bootstrap = description.evidence == ("bootstrap",)
    return (
        "unchanged, because the agent did not run" if only_bootstrap else "kept; the next run can resume it"
    )
