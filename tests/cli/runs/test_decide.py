"""`next_step`: what a command does next, given the record of a run and the status of its Jobs."""

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
NO_JOB, LIVE_JOB = JobStatus(present=False), JobStatus(present=True)
ENDED_JOB = JobStatus(present=True, finished=True)


def a_record(phase: Phase, age: timedelta = timedelta(minutes=5)) -> Record:
    ended = {"run_id": "r", "status": "succeeded"} if phase == "ended" else None
    return Record("r", (NOW - age).isoformat(), {"config": {}}, phase=phase, outcome=ended)


@pytest.mark.parametrize(
    ("phase", "jobs", "expected", "expected_no_wait"),
    [
        ("reserved", NO_JOB, Wait(), Submit()),
        ("submitting", NO_JOB, Wait(), Submit()),
        ("submitting", LIVE_JOB, Wait(), ReportPolling()),
        ("submitting", ENDED_JOB, Wait(), Wait()),
        ("polling", NO_JOB, ReportLost(), ReportLost()),
        ("polling", LIVE_JOB, Wait(), ReportPolling()),
        ("polling", ENDED_JOB, Wait(), Wait()),
    ],
)
def test_next_step_depends_on_phase_jobs_and_no_wait(
    phase: Phase, jobs: JobStatus, expected: Step, expected_no_wait: Step
) -> None:
    assert next_step(a_record(phase), jobs, NOW, no_wait=False) == expected
    assert next_step(a_record(phase), jobs, NOW, no_wait=True) == expected_no_wait


def test_next_step_of_an_ended_run_returns_its_outcome() -> None:
    record = a_record("ended")
    assert next_step(record, NO_JOB, NOW, no_wait=True) == ReturnOutcome(
        {"run_id": "r", "status": "succeeded"}
    )


def test_old_run_without_a_job_is_reported_as_lost() -> None:
    old = a_record("submitting", timedelta(days=2))
    assert not may_create(old, NOW)
    assert next_step(old, NO_JOB, NOW, no_wait=False) == ReportLost()
