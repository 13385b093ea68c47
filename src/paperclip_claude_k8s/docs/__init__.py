"""The package's documentation. Some of its files are generated from the code that they describe.

`python -m paperclip_claude_k8s.docs` rewrites the generated files; `tests/house` checks them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from paperclip_claude_k8s.docs.configuration_reference import configuration_reference
from paperclip_claude_k8s.docs.error_reference import error_reference
from paperclip_claude_k8s.docs.observability_reference import observability_reference
from paperclip_claude_k8s.docs.policy_reference import policy_reference

FOLDER = Path(__file__).parent
GENERATED: Mapping[str, Callable[[], str]] = {
    "configuration.md": configuration_reference,
    "errors.md": error_reference,
    "observability.md": observability_reference,
    "policy.md": policy_reference,
}
"""File name → function that returns its whole text."""


def write_generated() -> None:
    """Rewrite every generated file."""
    for name, render in GENERATED.items():
        (FOLDER / name).write_text(render(), encoding="utf-8")
