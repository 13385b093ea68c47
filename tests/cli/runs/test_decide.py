"""What a call does next about a known run, as a table."""

from datetime import UTC, datetime, timedelta

import pytest

from paperclip_claude_k8s.cli.runs.decide import (
    JobStatus,
    ReportLost,
    ReportPolling,
    ReturnOutcome,
    Step,
    Submit,
    Wait,
    may_create,
    next_step,
)
from paperclip_claude_k8s.cli.runs.record import Phase, Record

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ABSENT, LIVE = JobStatus(present=False), JobStatus(present=True)
ENDED = JobStatus(present=True, finished=True)


def a_record(phase: Phase, age: timedelta = timedelta(minutes=5)) -> Record:
    ended = {"run_id": "r", "status": "succeeded"} if phase == "ended" else None
    return Record("r", (NOW - age).isoformat(), {"config": {}}, phase=phase, outcome=ended)


@pytest.mark.parametrize(
    ("phase", "jobs", "waiting", "once"),
    [
        ("reserved", ABSENT, Wait(), Submit()),
        ("submitting", ABSENT, Wait(), Submit()),
        ("submitting", LIVE, Wait(), ReportPolling()),
        ("submitting", ENDED, Wait(), Wait()),
        ("polling", ABSENT, ReportLost(), ReportLost()),
        ("polling", LIVE, Wait(), ReportPolling()),
        ("polling", ENDED, Wait(), Wait()),
    ],
)
def test_next_step_by_phase_and_jobs(phase: Phase, jobs: JobStatus, waiting: Step, once: Step) -> None:
    assert next_step(a_record(phase), jobs, NOW, once=False) == waiting
    assert next_step(a_record(phase), jobs, NOW, once=True) == once


def test_next_step_of_an_ended_run_returns_its_outcome() -> None:
    record = a_record("ended")
    assert next_step(record, ABSENT, NOW, once=True) == ReturnOutcome({"run_id": "r", "status": "succeeded"})


def test_next_step_of_an_old_run_without_job_creates_none() -> None:
    old = a_record("submitting", timedelta(days=2))
    assert not may_create(old, NOW)
    assert next_step(old, ABSENT, NOW, once=False) == ReportLost()
