"""Identifies this process, and looks up other processes of this machine in /proc."""

import os
import socket
import uuid
from pathlib import Path

from paperclip_claude_k8s.cluster.lease_objects import ProcessId

_STATE, _START_TIME = 0, 19
"""Indexes in the list of those fields of /proc/PID/stat that follow the process name. In `man proc` they are
the fields 3 and 22."""


def this_process() -> ProcessId:
    """A new identity for this process.

    Without /proc the fields read from it stay empty; other processes then judge us by our Lease alone.
    """
    pid = os.getpid()
    return ProcessId(
        uuid=str(uuid.uuid4()),
        host=socket.gethostname(),
        boot=_read("/proc/sys/kernel/random/boot_id"),
        namespace=_link("/proc/self/ns/pid"),
        pid=pid,
        started=start_time(pid) or "",
    )


def start_time(pid: int) -> str | None:
    """When the process with this pid started, in clock ticks since boot; None if no such process is alive."""
    # The name is in parentheses, and may itself contain any character.
    _, _, after_name = _read(f"/proc/{pid}/stat").rpartition(")")
    fields = after_name.split()
    if len(fields) <= _START_TIME or fields[_STATE] in {"Z", "X"}:  # zombie, dead
        return None
    return fields[_START_TIME]


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
