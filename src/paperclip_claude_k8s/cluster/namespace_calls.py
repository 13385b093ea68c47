"""The call of `NamespacePort` on a real API server."""

from paperclip_claude_k8s.base.json_readers import get_object, get_text
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cluster.rest import Rest

MAX_NAME_CHARS = 63
"""Longest name of a namespace."""


class NamespaceCalls:
    """The part of `Gateway` for namespaces."""

    _rest: Rest

    async def list_namespaces(self) -> tuple[str, ...]:
        found = await self._rest.list("/api/v1/namespaces", {}, lambda item: get_object(item, "metadata"))
        return tuple(neutral(get_text(meta, "name"))[:MAX_NAME_CHARS] for meta in found.items)
