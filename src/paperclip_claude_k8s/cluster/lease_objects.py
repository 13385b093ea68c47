"""Builds and reads our Lease objects: one per process, which is renewed, and one per held slot, which is not.

A slot is an agent, or one task of an agent. The package `leases` uses the Leases as locks.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from paperclip_claude_k8s.base.json_readers import Json, get_text
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.cluster.labels import ADAPTER_LABEL, ADAPTER_TYPE, PREFIX
from paperclip_claude_k8s.cluster.model import LeaseSnapshot

KIND_LABEL = f"{PREFIX}lease"
PROCESS_ANNOTATION = f"{PREFIX}process"
_PID = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Identifies one process among all that ever ran. `uuid` is its name in Leases."""

    uuid: str
    host: str = ""
    """The hostname of its machine or Pod."""
    boot: str = ""
    """The kernel's boot id."""
    namespace: str = ""
    """The pid namespace, within which `pid` is valid."""
    pid: int = 0
    started: str = ""
    """Start time in clock ticks since boot, because pids are reused."""

    def to_map(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_map(cls, fields: Json) -> "ProcessId":
        texts = {key: get_text(fields, key) for key in ("uuid", "host", "boot", "namespace", "started")}
        pid = get_text(fields, "pid")
        return cls(**texts, pid=int(pid) if _PID.fullmatch(pid) else 0)


def process_lease_name(uuid: str) -> str:
    return f"ac-process-{uuid}"


def slot_lease_name(slot: str) -> str:
    """`slot` names an agent, or an agent and a task; any text gives a valid name."""
    return f"ac-slot-{hashlib.sha256(slot.encode()).hexdigest()[:16]}"


def process_lease(namespace: str, process: ProcessId, now: datetime, seconds: int) -> dict[str, Any]:
    """The manifest. `seconds`: `leaseDurationSeconds`, after which other tools consider the Lease expired."""
    lease = _lease(namespace, process_lease_name(process.uuid), "process", process, now)
    lease["spec"] |= {"holderIdentity": process.uuid, "leaseDurationSeconds": seconds}
    return lease


def slot_lease(namespace: str, slot: str, run: str, process: ProcessId, now: datetime) -> dict[str, Any]:
    lease = _lease(namespace, slot_lease_name(slot), "slot", process, now)
    lease["spec"] |= {"holderIdentity": f"{process.uuid}/{run}"}
    return lease


def at_version(lease: dict[str, Any], version: str) -> dict[str, Any]:
    """The manifest with this resourceVersion, so that it can replace only that version of the Lease."""
    return {**lease, "metadata": {**lease["metadata"], "resourceVersion": version}}


def _lease(namespace: str, name: str, kind: str, process: ProcessId, now: datetime) -> dict[str, Any]:
    time = format_time(now, "microseconds")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {ADAPTER_LABEL: ADAPTER_TYPE, KIND_LABEL: kind},
            "annotations": {PROCESS_ANNOTATION: json.dumps(process.to_map(), sort_keys=True)},
        },
        "spec": {"acquireTime": time, "renewTime": time},
    }


def is_process_lease(lease: LeaseSnapshot) -> bool:
    return lease.labels.get(KIND_LABEL) == "process"


def is_slot_lease(lease: LeaseSnapshot) -> bool:
    return lease.labels.get(KIND_LABEL) == "slot"


def holder_of(lease: LeaseSnapshot) -> tuple[ProcessId, str]:
    """The process that wrote the Lease, and the run for which a slot's Lease was written."""
    uuid, _, run = lease.holder.partition("/")
    return read_process(lease.annotations.get(PROCESS_ANNOTATION, ""), uuid), run


def read_process(text: str, uuid: str) -> ProcessId:
    """Read a process from the text of an annotation. Others can edit it, so no text is an error.

    A non-empty `uuid` overrides the uuid in the text.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return ProcessId(uuid)
    return ProcessId.from_map({**fields, "uuid": uuid or fields.get("uuid")})
