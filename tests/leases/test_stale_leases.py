"""Which Leases are deleted as stale, by what is known of their process and by their age."""

from datetime import UTC, datetime, timedelta

import pytest

from paperclip_claude_k8s.cluster.lease_objects import (
    ProcessId,
    process_lease,
    slot_lease,
)
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.cluster.reading import lease_snapshot
from paperclip_claude_k8s.leases.liveness import Liveness
from paperclip_claude_k8s.leases.stale_leases import find_stale

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FRESH, OLD = timedelta(minutes=1), timedelta(hours=2)
THEM = ProcessId("them", host="h", boot="b", namespace="n", pid=7, started="1")


def of_process(age: timedelta) -> LeaseSnapshot:
    return lease_snapshot(process_lease("ns", THEM, NOW - age, 60))


def of_slot(age: timedelta) -> LeaseSnapshot:
    return lease_snapshot(slot_lease("ns", "agent", "run", THEM, NOW - age))


@pytest.mark.parametrize(
    ("liveness", "process", "slot", "stale"),
    [
        (Liveness.ALIVE, FRESH, OLD, set()),
        (Liveness.UNKNOWN, FRESH, OLD, set()),
        (Liveness.UNKNOWN, FRESH, FRESH, set()),
        (Liveness.UNKNOWN, OLD, OLD, {"process", "slot"}),
        (Liveness.UNKNOWN, None, OLD, {"slot"}),
        (Liveness.UNKNOWN, None, FRESH, set()),
        (Liveness.DEAD, FRESH, FRESH, {"process", "slot"}),
        (Liveness.DEAD, None, FRESH, {"slot"}),
        (Liveness.DEAD, FRESH, None, {"process"}),
    ],
)
def test_stale_leases_by_liveness_and_age(
    liveness: Liveness, process: timedelta | None, slot: timedelta | None, stale: set[str]
) -> None:
    leases = [of_process(process)] if process is not None else []
    leases += [of_slot(slot)] if slot is not None else []
    found = find_stale(leases, lambda holder: liveness if holder == THEM else Liveness.ALIVE, NOW)
    assert {lease.name.split("-")[1] for lease in found} == stale


def test_slot_lease_of_a_detached_run_is_not_stale() -> None:
    detached = slot_lease("ns", "agent", "", ProcessId("detached:run-1"), NOW - OLD)
    assert find_stale([lease_snapshot(detached)], lambda _: Liveness.UNKNOWN, NOW) == []


def test_slot_lease_of_a_run_with_a_colon_in_its_id_becomes_stale() -> None:
    lease = lease_snapshot(slot_lease("ns", "agent", "run:1", THEM, NOW - OLD))
    assert find_stale([lease], lambda _: Liveness.DEAD, NOW) == [lease]


def test_leases_of_other_programs_are_not_stale() -> None:
    other = LeaseSnapshot("ns", "leader", "1", "somebody", renewed=NOW - OLD)
    assert find_stale([other], lambda _: Liveness.DEAD, NOW) == []
