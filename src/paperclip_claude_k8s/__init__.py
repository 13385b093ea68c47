"""Claude Code agents as isolated Kubernetes Jobs, for Paperclip-style hosts.

A host finds `create_server_adapter` through the entry point group `paperclip.adapters`; what it returns has
`execute(ctx)` and the rest of the adapter's members. Nothing heavy is imported before it is called.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paperclip_claude_k8s.adapter import Adapter

__version__ = "0.1.0"
__all__ = ["__version__", "create_server_adapter"]


def create_server_adapter() -> "Adapter":
    """The adapter object a host registers; takes nothing, touches nothing outside the process."""
    from paperclip_claude_k8s.adapter import Adapter  # noqa: PLC0415  # keeps `import paperclip_claude_k8s` instant

    return Adapter()
