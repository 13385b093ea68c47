"""Records Events about objects; a repeated Event only gets a higher count."""

import uuid

from paperclip_claude_k8s.devcluster.kinds import EVENTS, Object
from paperclip_claude_k8s.devcluster.store import Store, now


class Events:
    """Records Events in the name of one component."""

    def __init__(self, store: Store, component: str = "kubelet") -> None:
        self._store = store
        self._component = component

    def record(self, about: Object, event_type: str, reason: str, message: str) -> None:
        """Record an Event of type Normal or Warning, or increase the count of the same Event if it exists."""
        event = self._find(about, reason, message)
        if event is not None:
            self._increase_count(event)
        else:
            self._create(about, event_type, reason, message)

    def record_once(self, about: Object, event_type: str, reason: str, message: str) -> None:
        """Record an Event unless the same Event exists."""
        if self._find(about, reason, message) is None:
            self._create(about, event_type, reason, message)

    def _find(self, about: Object, reason: str, message: str) -> Object | None:
        meta = about["metadata"]
        for event in self._store.list(EVENTS, meta["namespace"]):
            same = event.get("involvedObject", {}).get("uid") == meta["uid"] and event.get("reason") == reason
            if same and event.get("message") == message:
                return event
        return None

    def _create(self, about: Object, event_type: str, reason: str, message: str) -> None:
        meta = about["metadata"]
        self._store.create(
            EVENTS,
            {
                "metadata": {
                    "name": f"{meta['name']}.{uuid.uuid4().hex[:16]}",
                    "namespace": meta["namespace"],
                },
                "involvedObject": {
                    **{key: about[key] for key in ("kind", "apiVersion")},
                    **{key: meta[key] for key in ("namespace", "name", "uid")},
                },
                "type": event_type,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "source": {"component": self._component},
            },
        )

    def _increase_count(self, event: Object) -> None:
        def change(found: Object) -> None:
            found["count"] = found.get("count", 0) + 1
            found["lastTimestamp"] = now()

        self._store.update(EVENTS, event["metadata"]["namespace"], event["metadata"]["name"], change)
