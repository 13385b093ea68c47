"""The tables that `kubectl get` prints. With `-o wide`, kubectl also shows the columns of priority 1."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from paperclip_claude_k8s.devcluster.kinds import CLAIMS, EVENTS, JOBS, LEASES, PODS, SECRETS, Kind, Object

Row = Callable[[Object], list[Any]]
"""Returns the cells of an object's row."""


def table(kind: Kind, objects: Iterable[Object], version: str) -> Object:
    """A `Table` with the usual columns of kubectl."""
    columns, row = _COLUMNS.get(kind, (["Name", "Age"], lambda obj: [_name(obj), _age(obj)]))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "priority": int(name in _WIDE_COLUMNS),
            }
            for name in columns
        ],
        "rows": [{"cells": row(obj), "object": _partial(obj)} for obj in objects],
    }


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object, since: str | None = None, until: str | None = None) -> str:
    """The time from `since` to `until`; None: from the object's creation, or until now."""
    begin = since or obj["metadata"].get("creationTimestamp")
    if not begin:
        return "<unknown>"
    try:
        end = datetime.fromisoformat(until) if until else datetime.now(UTC)
        seconds = int((end - datetime.fromisoformat(begin)).total_seconds())
    except (ValueError, TypeError):  # no time, or one without a zone
        return "<unknown>"
    if seconds < 120:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds < 7200 else f"{seconds // 3600}h"


def _job(job: Object) -> list[Any]:
    status = job.get("status", {})
    started = status.get("startTime")
    duration = _age(job, started, status.get("completionTime")) if started else ""
    containers = job["spec"]["template"]["spec"].get("containers") or []
    names, images = (",".join(str(part.get(key, "")) for part in containers) for key in ("name", "image"))
    return [_name(job), f"{status.get('succeeded', 0)}/1", duration, _age(job), names, images]


def _pod(pod: Object) -> list[Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    ready = sum(1 for status in statuses if status.get("ready"))
    total = len(pod["spec"].get("containers") or [])
    ip, node = pod.get("status", {}).get("podIP", "<none>"), pod["spec"].get("nodeName", "<none>")
    return [_name(pod), f"{ready}/{total}", _pod_status(pod, statuses), "0", _age(pod), ip, node]


def _pod_status(pod: Object, statuses: list[Object]) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if reason := pod.get("status", {}).get("reason"):
        return str(reason)
    for status in statuses:
        for state in ("waiting", "terminated"):
            if reason := status.get("state", {}).get(state, {}).get("reason"):
                return str(reason)
    return str(pod.get("status", {}).get("phase", "Unknown"))


def _claim(claim: Object) -> list[Any]:
    spec, status = claim["spec"], claim.get("status", {})
    phase = "Terminating" if claim["metadata"].get("deletionTimestamp") else status.get("phase", "")
    size, modes = status.get("capacity", {}).get("storage", ""), ",".join(spec.get("accessModes") or [])
    return [_name(claim), phase, size, modes, spec.get("storageClassName", ""), _age(claim)]


def _event(event: Object) -> list[Any]:
    about, seen = event.get("involvedObject", {}), _age(event, event.get("lastTimestamp"))
    subject = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
    return [seen, event.get("type", ""), event.get("reason", ""), subject, event.get("message", "")]


_WIDE_COLUMNS = frozenset({"IP", "Node", "Containers", "Images"})
_COLUMNS: dict[Kind, tuple[list[str], Row]] = {
    JOBS: (["Name", "Completions", "Duration", "Age", "Containers", "Images"], _job),
    PODS: (["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"], _pod),
    EVENTS: (["Last Seen", "Type", "Reason", "Object", "Message"], _event),
    SECRETS: (
        ["Name", "Type", "Data", "Age"],
        lambda obj: [_name(obj), obj.get("type", "Opaque"), len(obj.get("data") or {}), _age(obj)],
    ),
    CLAIMS: (["Name", "Status", "Capacity", "Access Modes", "StorageClass", "Age"], _claim),
    LEASES: (
        ["Name", "Holder", "Age"],
        lambda obj: [_name(obj), obj.get("spec", {}).get("holderIdentity", ""), _age(obj)],
    ),
}
