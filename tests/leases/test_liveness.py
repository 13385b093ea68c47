"""Whether a lock holder's process is alive: by the process table of this machine, by its Lease otherwise."""

from dataclasses import replace

import pytest

from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.leases.liveness import Liveness, ObservedLease, lease_liveness, local_liveness

OURS = ProcessId("ours", host="h", boot="boot-1", namespace="pid:[1]", pid=7, started="100")
THEIRS = replace(OURS, uuid="theirs", pid=8, started="200")


def start_time_of(pid: int) -> str | None:
    """The process table: pid 8 started at 200."""
    return {8: "200"}.get(pid)


@pytest.mark.parametrize(
    ("theirs", "liveness"),
    [
        (THEIRS, Liveness.ALIVE),
        (replace(THEIRS, pid=9), Liveness.DEAD),
        (replace(THEIRS, started="150"), Liveness.DEAD),  # the pid was reused
        (replace(THEIRS, boot="boot-2"), Liveness.UNKNOWN),
        (replace(THEIRS, namespace="pid:[2]"), Liveness.UNKNOWN),
        (replace(THEIRS, started=""), Liveness.UNKNOWN),
        (ProcessId("theirs"), Liveness.UNKNOWN),
    ],
)
def test_local_liveness_judges_processes_of_this_pid_namespace(theirs: ProcessId, liveness: Liveness) -> None:
    assert local_liveness(theirs, OURS, start_time_of) is liveness


@pytest.mark.parametrize(
    ("version", "now", "liveness"),
    [
        (None, 10.0, Liveness.DEAD),
        ("1", 10.0, Liveness.UNKNOWN),
        ("2", 10.0, Liveness.ALIVE),
        ("1", 74.9, Liveness.UNKNOWN),
        ("1", 75.0, Liveness.DEAD),
        ("2", 75.0, Liveness.ALIVE),
    ],
)
def test_lease_liveness_expires_by_our_own_clock(version: str | None, now: float, liveness: Liveness) -> None:
    assert lease_liveness(ObservedLease("1", since=10.0), version, now, expiry=65.0) is liveness
