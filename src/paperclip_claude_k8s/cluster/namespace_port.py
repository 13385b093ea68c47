"""The part of the `Cluster` interface for namespaces. `port` has the rules for its calls."""

from typing import Protocol


class NamespacePort(Protocol):
    """The calls for namespaces."""

    async def list_namespaces(self) -> tuple[str, ...]:
        """Names of all namespaces. `ClusterError` 403 for accounts that may not list them."""
        ...
