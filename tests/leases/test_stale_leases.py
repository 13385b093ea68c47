"""Which Leases are stale, depending on the liveness of their process and on their age."""

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
HOLDER = ProcessId("them", host="h", boot="b", namespace="n", pid=7, started="1")


def process_lease_of_age(age: timedelta) -> LeaseSnapshot:
    return lease_snapshot(process_lease("ns", HOLDER, now=NOW - age, seconds=60))


def slot_lease_of_age(age: timedelta) -> LeaseSnapshot:
    return lease_snapshot(slot_lease("ns", "agent", "run", HOLDER, NOW - age))


@pytest.mark.parametrize(
    ("liveness", "process_age", "slot_age", "stale_kinds"),
    [  # liveness of the holder, age of each Lease (None: it does not exist), kinds that are stale
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
def test_leases_are_stale_depending_on_liveness_and_age(
    liveness: Liveness, process_age: timedelta | None, slot_age: timedelta | None, stale_kinds: set[str]
) -> None:
    leases = [process_lease_of_age(process_age)] if process_age is not None else []
    leases += [slot_lease_of_age(slot_age)] if slot_age is not None else []
    found = find_stale(leases, lambda holder: liveness if holder == HOLDER else Liveness.ALIVE, NOW)
    kinds = {lease.name.split("-")[1] for lease in found}  # names begin with ac-process- or ac-slot-
    assert kinds == stale_kinds


def test_slot_lease_of_a_detached_run_is_not_stale() -> None:
    detached = slot_lease("ns", "agent", run="", process=ProcessId("detached:run-1"), now=NOW - OLD)
    assert find_stale([lease_snapshot(detached)], lambda _: Liveness.UNKNOWN, NOW) == []


def test_slot_lease_of_a_run_with_a_colon_in_its_id_becomes_stale() -> None:
    lease = lease_snapshot(slot_lease("ns", "agent", "run:1", HOLDER, NOW - OLD))
    assert find_stale([lease], lambda _: Liveness.DEAD, NOW) == [lease]


def test_leases_of_other_programs_are_not_stale() -> None:
    other = LeaseSnapshot("ns", "leader", "1", "controller-1", renewed=NOW - OLD)
    assert find_stale([other], lambda _: Liveness.DEAD, NOW) == []
