"""Manifests of Kubernetes Events about Jobs."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.model import JobRef, JsonObject

COMPONENT = "paperclip-claude-k8s"
MAX_MESSAGE_CHARS = 1000
"""Longest message. The API server refuses more than 1,024 bytes; here each character is one byte of ASCII."""
MAX_NAME_CHARS = 200
"""Largest part of the Job's name with which the name of its Event begins; an Event's name may have 253."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One Event: a reason in CamelCase and a message."""

    reason: str
    message: str
    warning: bool = False


def event_manifest(job: JobRef, event: JobEvent, now: datetime) -> JsonObject:
    """The manifest of an Event about this Job."""
    time = format_time(now, "seconds")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{job.name[:MAX_NAME_CHARS]}.{uuid.uuid4().hex[:16]}",
            "namespace": job.namespace,
        },
        "involvedObject": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "message": neutral(event.message).encode("ascii", "replace").decode()[:MAX_MESSAGE_CHARS],
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }
