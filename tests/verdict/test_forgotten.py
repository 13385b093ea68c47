"""Whose Leases are swept: table over what is known of a process and the age of what it left."""

from datetime import UTC, datetime, timedelta

import pytest

from paperclip_claude_k8s.cluster.lease_objects import (
    ProcessId,
    process_lease,
    slot_lease,
)
from paperclip_claude_k8s.cluster.model import LeaseSnapshot
from paperclip_claude_k8s.cluster.reading import lease_snapshot
from paperclip_claude_k8s.verdict.forgotten import forgotten
from paperclip_claude_k8s.verdict.holder import Liveness

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FRESH, OLD = timedelta(minutes=1), timedelta(hours=2)
THEM = ProcessId("them", host="h", boot="b", namespace="n", pid=7, started="1")


def of_process(age: timedelta) -> LeaseSnapshot:
    return lease_snapshot(process_lease("ns", THEM, NOW - age, 60))


def of_slot(age: timedelta) -> LeaseSnapshot:
    return lease_snapshot(slot_lease("ns", "agent", "run", THEM, NOW - age))


@pytest.mark.parametrize(
    ("fate", "process", "slot", "swept"),
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
def test_what_is_swept(
    fate: Liveness, process: timedelta | None, slot: timedelta | None, swept: set[str]
) -> None:
    there = [of_process(process)] if process is not None else []
    there += [of_slot(slot)] if slot is not None else []
    found = forgotten(there, lambda holder: fate if holder == THEM else Liveness.ALIVE, NOW)
    assert {lease.name.split("-")[1] for lease in found} == swept


def test_a_slot_of_a_run_that_was_left_on_purpose_is_not_swept() -> None:
    left = slot_lease("ns", "agent", "", ProcessId("detached:run-1"), NOW - OLD)
    assert forgotten([lease_snapshot(left)], lambda _: Liveness.UNKNOWN, NOW) == []


def test_leases_of_others_are_none_of_our_business() -> None:
    other = LeaseSnapshot("ns", "leader", "1", "somebody", renewed=NOW - OLD)
    assert forgotten([other], lambda _: Liveness.DEAD, NOW) == []
