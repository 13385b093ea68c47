"""Every field of the policy as documents show it, read from `policy.toml`, where fields are documented."""

from dataclasses import dataclass
from importlib.resources import files

from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.base.toml_tables import entries_under_headings


@dataclass(frozen=True, slots=True)
class PolicyField:
    """One field of the policy."""

    name: str
    """Field of `Policy`."""
    group: str
    """Heading under which documents show it."""
    shape: str
    """Type of the value: boolean, patterns, folders and others."""
    effect: str
    """What the field allows or limits, Markdown."""
    reason: str
    """Why the default is what it is, Markdown."""
    settings: tuple[str, ...] = ()
    """Fields of `AdapterConfig` that cannot be used at all if this field allows nothing."""

    @property
    def key(self) -> str:
        """The key in a policy."""
        return to_camel(self.name)


def _read_fields() -> tuple[PolicyField, ...]:
    table = files("paperclip_claude_k8s.host").joinpath("policy.toml").read_text(encoding="utf-8")
    return tuple(
        PolicyField(group=group, settings=tuple(entry.pop("settings", ())), **entry)
        for group, entry in entries_under_headings(table)
    )


POLICY_FIELDS = _read_fields()
"""All fields, in the order of the documents."""
