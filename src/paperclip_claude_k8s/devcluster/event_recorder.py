"""Events about objects, repeated ones counted."""

import uuid
from typing import Any

from paperclip_claude_k8s.devcluster.kinds import EVENTS
from paperclip_claude_k8s.devcluster.store import Store, now

Object = dict[str, Any]


class Events:
    def __init__(self, store: Store, component: str = "kubelet") -> None:
        self._store = store
        self._component = component

    def record(self, about: Object, kind: str, reason: str, message: str) -> None:
        """`kind` is Normal or Warning. The same words about the same object are counted up."""
        meta = about["metadata"]
        for event in self._store.list(EVENTS, meta["namespace"]):
            same = event["involvedObject"]["uid"] == meta["uid"] and event["reason"] == reason
            if same and event["message"] == message:
                self._again(event)
                return
        self._store.create(
            EVENTS,
            {
                "metadata": {
                    "name": f"{meta['name']}.{uuid.uuid4().hex[:16]}",
                    "namespace": meta["namespace"],
                },
                "involvedObject": {
                    "kind": about["kind"],
                    "apiVersion": about["apiVersion"],
                    "namespace": meta["namespace"],
                    "name": meta["name"],
                    "uid": meta["uid"],
                },
                "type": kind,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "source": {"component": self._component},
            },
        )

    def _again(self, event: Object) -> None:
        def change(found: Object) -> None:
            found["count"] += 1
            found["lastTimestamp"] = now()

        self._store.update(EVENTS, event["metadata"]["namespace"], event["metadata"]["name"], change)
