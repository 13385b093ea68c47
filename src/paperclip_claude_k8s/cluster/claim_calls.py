"""The calls of `ClaimPort` on a real API server."""

from collections.abc import Sequence

from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.model import ClaimSnapshot, JsonObject, Listing
from paperclip_claude_k8s.cluster.port import Labels
from paperclip_claude_k8s.cluster.rest import Rest, core_path
from paperclip_claude_k8s.cluster.transport import HttpClient, Request


class ClaimCalls:
    """The part of `Gateway` for PersistentVolumeClaims."""

    _http: HttpClient
    _rest: Rest

    async def read_claim(self, namespace: str, name: str) -> ClaimSnapshot | None:
        return await self._rest.read(_claims(namespace, name), reading.claim_snapshot)

    async def list_claims(self, namespace: str, labels: Labels) -> Listing[ClaimSnapshot]:
        return await self._rest.list(_claims(namespace), labels, reading.claim_snapshot)

    async def create_claim(
        self, namespace: str, manifest: JsonObject, *, dry_run: bool = False
    ) -> ClaimSnapshot:
        query = {"dryRun": "All"} if dry_run else {}
        return reading.claim_snapshot(
            await self._http.call(Request("POST", _claims(namespace), query, body=manifest))
        )

    async def patch_claim(self, claim: ClaimSnapshot, patch: Sequence[JsonObject]) -> ClaimSnapshot | None:
        changed = await self._rest.patch(_claims(claim.namespace, claim.name), claim.uid, patch)
        return reading.claim_snapshot(changed) if changed is not None else None

    async def delete_claim(self, claim: ClaimSnapshot) -> bool:
        preconditions = {"uid": claim.uid, "resourceVersion": claim.resource_version}
        return await self._rest.delete(_claims(claim.namespace, claim.name), preconditions)


def _claims(namespace: str, name: str = "") -> str:
    return core_path(namespace, "persistentvolumeclaims", name)
