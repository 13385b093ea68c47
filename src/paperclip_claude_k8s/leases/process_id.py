"""Which process this is: the door to the process table."""

import os
import socket
import uuid
from pathlib import Path

from paperclip_claude_k8s.cluster.lease_objects import ProcessId


def this_process() -> ProcessId:
    """Facts of a system without a process table in /proc stay empty: then only Leases tell."""
    pid = os.getpid()
    return ProcessId(
        uuid=str(uuid.uuid4()),
        host=socket.gethostname(),
        boot=_read("/proc/sys/kernel/random/boot_id"),
        namespace=_link("/proc/self/ns/pid"),
        pid=pid,
        started=start_of(pid) or "",
    )


def start_of(pid: int) -> str | None:
    """When the process with this pid began, in ticks since boot; None where none is alive."""
    _, _, told = _read(f"/proc/{pid}/stat").rpartition(")")  # its name may hold anything
    fields = told.split()
    return fields[19] if len(fields) > 19 and fields[0] not in {"Z", "X"} else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
