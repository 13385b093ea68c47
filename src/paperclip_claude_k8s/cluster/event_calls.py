"""The calls for Events on a real API server."""

from typing import Literal

from paperclip_claude_k8s.cluster import reading
from paperclip_claude_k8s.cluster.model import EventSnapshot, JsonObject
from paperclip_claude_k8s.cluster.rest import core_path
from paperclip_claude_k8s.cluster.transport import HttpClient, Request


class EventCalls:
    """The part of `Gateway` for Events."""

    _http: HttpClient

    async def list_events(
        self, namespace: str, about: str, *, by: Literal["uid", "name"] = "uid"
    ) -> tuple[EventSnapshot, ...]:
        query = {"fieldSelector": f"involvedObject.{by}={about}"}
        return reading.events_in_order(
            await self._http.call(Request("GET", core_path(namespace, "events"), query))
        )

    async def create_event(self, namespace: str, manifest: JsonObject) -> None:
        await self._http.call(Request("POST", core_path(namespace, "events"), body=manifest))
