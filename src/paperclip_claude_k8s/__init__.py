"""Runs Claude Code agents as isolated Kubernetes Jobs, for Paperclip-style hosts.

A host finds `create_server_adapter` through the entry point group `paperclip.adapters`, or imports it. One
adapter serves any number of concurrent runs:

    import asyncio
    from paperclip_claude_k8s import create_server_adapter

    async def on_log(stream: str, text: str) -> None:
        print(text, end="")

    async def main() -> None:
        adapter = create_server_adapter()
        ctx = {"runId": "run-1", "agent": {"id": "ada"}, "onLog": on_log}
        ctx["config"] = {"kubeconfig": "/path/to/kubeconfig", "namespace": "agents", "image": "my/claude:1"}
        ctx["context"] = {"paperclipTaskMarkdown": "Say hello."}
        result = await adapter.execute(ctx)
        print(result.error_code or result.summary)
        await adapter.shutdown()

    asyncio.run(main())

The documents are in the folder `docs` of this package: `host-protocol.md` (what a host passes in and gets
back), `configuration.md` (every setting), `errors.md` (every error code) and others.

The public interface consists of the names in `__all__` of this package and of its modules `helpers`,
`replay`, `testing` (see `building-hosts.md`) and `instrumentation` (see `observability.md`), of the command
line, and of the bridge's line protocol. Every other module is private and may change in any release.
Importing the package is cheap: each public class is loaded when it is first used.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from paperclip_claude_k8s.adapter import Adapter
    from paperclip_claude_k8s.error_codes import ErrorCode
    from paperclip_claude_k8s.host.context import ExecutionContext
    from paperclip_claude_k8s.host.result import ExecutionResult

logging.getLogger(__name__).addHandler(logging.NullHandler())
__version__ = "0.1.0"
__all__ = [
    "Adapter",
    "ErrorCode",
    "ExecutionContext",
    "ExecutionResult",
    "__version__",
    "create_server_adapter",
]


def create_server_adapter(policy: "Mapping[str, Any] | None" = None) -> "Adapter":
    """Create the adapter object that a host registers.

    The adapter reads the environment of this process. It connects to nothing before one of its methods is
    called.

    Args:
        policy: What configs may use, as `docs/policy.md` describes it. None: the file that CLAUDE_K8S_POLICY
            names, else the default. An invalid file does not raise here: every run then fails.

    Raises:
        ValueError: `policy` has an unknown field or a wrong value.
    """
    from paperclip_claude_k8s.adapter import Adapter  # noqa: PLC0415  # keeps `import paperclip_claude_k8s` cheap

    return Adapter(policy=policy)


if not TYPE_CHECKING:
    _MODULES = {
        "Adapter": "adapter",
        "ErrorCode": "error_codes",
        "ExecutionContext": "host.context",
        "ExecutionResult": "host.result",
    }

    def __getattr__(name: str) -> object:
        """Load a public class when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        """Include the names that are not loaded yet, for `help` and completion."""
        return sorted({*globals(), *_MODULES})
