"""Every setting as forms and documents show it, read from `settings.toml`, where settings are documented."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeAlias

from paperclip_claude_k8s.base.toml_tables import entries_under_headings
from paperclip_claude_k8s.host.config import AdapterConfig, documented_key

Kind: TypeAlias = Literal["text", "select", "toggle", "number", "textarea", "combobox"]
"""Input element of the host's form; all of them submit strings, except toggles and numbers."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    name: str
    """Field of `AdapterConfig`."""
    group: str
    """Heading under which forms and documents show it."""
    label: str
    """Caption in the form."""
    hint: str
    """One or two sentences for the form, the guide and the tables."""
    kind: Kind = "text"
    shape: str = "string"
    """Type of the value, for documents; not used for toggles and selects."""
    options: tuple[str, ...] = ()
    """Values of a select or suggestions of a combobox, except the models, which depend on the environment."""
    details: str = ""
    """Further sentences, Markdown, for configuration.md only."""
    form: Literal["basic", "folded", "none"] = "folded"
    """Where the host's form shows it. `basic`: first and always; `folded`: in the section of its group."""
    needs: str = ""
    """Another field of `AdapterConfig`. While that is off or empty, this one has no effect and is hidden."""

    @property
    def key(self) -> str:
        """The key in the config, as documents show it."""
        return documented_key(AdapterConfig.model_fields[self.name].alias or self.name)

    @property
    def type_name(self) -> str:
        """The type of the value, for documents."""
        if self.kind == "select":
            return f"one of {', '.join(self.options)}"
        return "boolean" if self.kind == "toggle" else self.shape


def _read_settings() -> tuple[Setting, ...]:
    table = files("paperclip_claude_k8s.host").joinpath("settings.toml").read_text(encoding="utf-8")
    return tuple(
        Setting(group=group, options=tuple(entry.pop("options", ())), **entry)
        for group, entry in entries_under_headings(table)
    )


SETTINGS = _read_settings()
"""All settings, in the order of the form."""
