"""The part of the `Cluster` interface for PersistentVolumeClaims. `port` has the rules for its calls."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from paperclip_claude_k8s.cluster.model import ClaimSnapshot, JsonObject, Listing


class ClaimPort(Protocol):
    """The calls for PersistentVolumeClaims."""

    async def read_claim(self, namespace: str, name: str) -> ClaimSnapshot | None: ...

    async def list_claims(self, namespace: str, labels: Mapping[str, str]) -> Listing[ClaimSnapshot]:
        """PersistentVolumeClaims that carry all these labels."""
        ...

    async def create_claim(
        self, namespace: str, manifest: JsonObject, *, dry_run: bool = False
    ) -> ClaimSnapshot:
        """Create a PersistentVolumeClaim. `ClusterError` 409 if the name is taken."""
        ...

    async def patch_claim(self, claim: ClaimSnapshot, patch: Sequence[JsonObject]) -> ClaimSnapshot | None:
        """Apply a JSON patch (RFC 6902) like `patch_job`; None if the claim no longer exists."""
        ...

    async def delete_claim(self, claim: ClaimSnapshot) -> bool:
        """Delete this version of a claim. False if it has changed since, or no longer exists.

        A claim that a Pod uses stays, marked as being deleted, until the Pod has ended.
        """
        ...
