"""Whether a lock holder's process is alive: judged by this machine's process table, or else by its Lease."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.lease_objects import ProcessId
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError
from paperclip_claude_k8s.leases.liveness import (
    Liveness,
    LivenessProbe,
    ObservedLease,
    lease_liveness,
    local_liveness,
)

OURS = ProcessId("ours", host="h", boot="boot-1", namespace="pid:[1]", pid=7, started="100")
THEIRS = replace(OURS, uuid="theirs", pid=8, started="200")


def start_time_of(pid: int) -> str | None:
    """Look up the process table, in which only pid 8 exists. It started at 200."""
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
        (None, 10.0, Liveness.DEAD),  # the Lease does not exist any more
        ("1", 10.0, Liveness.UNKNOWN),
        ("2", 10.0, Liveness.ALIVE),
        ("1", 74.9, Liveness.UNKNOWN),
        ("1", 75.0, Liveness.DEAD),  # 65 s after the first read
        ("2", 75.0, Liveness.ALIVE),
    ],
)
def test_lease_liveness_depends_on_version_and_time_since_the_first_read(
    version: str | None, now: float, liveness: Liveness
) -> None:
    assert lease_liveness(ObservedLease("1", since=10.0), version, now, expiry=65.0) is liveness


class OneLease:
    """A cluster with one Lease. Reads fail from second 30 to 90; a living holder renews the Lease at 100."""

    def __init__(self, *, holder_lives: bool) -> None:
        self._holder_lives = holder_lives

    async def read_lease(self, namespace: str, name: str) -> LeaseSnapshot:
        now = asyncio.get_running_loop().time()
        if 30 <= now < 90:
            raise ClusterError(None, "", "connection refused")
        version = "2" if self._holder_lives and now >= 100 else "1"
        return LeaseSnapshot(namespace, name, version, "theirs")


class SilentReporter:
    async def status(self, text: str) -> None:
        """Discard the text."""

    async def warn(self, text: str) -> None:
        """Discard the text."""


@pytest.mark.looptime
@pytest.mark.parametrize(("holder_lives", "expected"), [(True, Liveness.ALIVE), (False, Liveness.DEAD)])
async def test_lease_expiry_begins_again_after_failed_reads(holder_lives: bool, expected: Liveness) -> None:  # noqa: FBT001
    cluster = cast("Cluster", OneLease(holder_lives=holder_lives))
    probe = LivenessProbe(cluster, "agents", OURS, Timings())
    elsewhere = replace(THEIRS, boot="boot-2")
    assert await probe.liveness_of(elsewhere, SilentReporter()) is expected
