"""What a call does next about a known run: SPEC 12, as a table."""

from datetime import UTC, datetime, timedelta

import pytest

from paperclip_claude_k8s.cli.runs.decide import (
    Leave,
    Lose,
    Sight,
    Step,
    Submit,
    Tell,
    Wait,
    may_create,
    next_step,
)
from paperclip_claude_k8s.cli.runs.record import Phase, Record

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ABSENT, LIVE, ENDED = Sight(present=False), Sight(present=True), Sight(present=True, finished=True)


def a_record(phase: Phase, age: timedelta = timedelta(minutes=5)) -> Record:
    ended = {"run_id": "r", "status": "succeeded"} if phase == "ended" else None
    return Record("r", (NOW - age).isoformat(), {"config": {}}, phase=phase, outcome=ended)


@pytest.mark.parametrize(
    ("phase", "seen", "waiting", "once"),
    [
        ("reserved", ABSENT, Wait(), Submit()),
        ("submitting", ABSENT, Wait(), Submit()),
        ("submitting", LIVE, Wait(), Leave()),
        ("submitting", ENDED, Wait(), Wait()),
        ("polling", ABSENT, Lose(), Lose()),
        ("polling", LIVE, Wait(), Leave()),
        ("polling", ENDED, Wait(), Wait()),
    ],
)
def test_spec_12_a_resumed_run(phase: Phase, seen: Sight, waiting: Step, once: Step) -> None:
    assert next_step(a_record(phase), seen, NOW, once=False) == waiting
    assert next_step(a_record(phase), seen, NOW, once=True) == once


def test_an_ended_run_is_answered_from_its_record() -> None:
    record = a_record("ended")
    assert next_step(record, ABSENT, NOW, once=True) == Tell({"run_id": "r", "status": "succeeded"})


def test_a_run_whose_job_may_have_come_and_gone_is_not_made_again() -> None:
    old = a_record("submitting", timedelta(days=2))
    assert not may_create(old, NOW)
    assert next_step(old, ABSENT, NOW, once=False) == Lose()
