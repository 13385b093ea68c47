"""Random faults of connections, files and clocks: each line comes once and in order, or a gap is reported."""

import os

import pytest
from tests.support.log_schedules import Outcome, Schedule, is_covered, missing, run_schedule

SCHEDULES = int(os.environ.get("PODLOG_SCHEDULES", "300"))
FIRST = int(os.environ.get("PODLOG_FIRST", "0"))
BLOCK = 100


@pytest.mark.looptime
@pytest.mark.parametrize("block", range(FIRST, FIRST + SCHEDULES, BLOCK))
async def test_every_line_is_delivered_once_in_order_or_reported_as_gap(block: int) -> None:
    for seed in range(block, min(block + BLOCK, FIRST + SCHEDULES)):
        try:
            judge(await run_schedule(seed))
        except BaseException as error:
            error.add_note(f"PODLOG_FIRST={seed} PODLOG_SCHEDULES=1: {Schedule.of(seed)}")
            raise


def judge(outcome: Outcome) -> None:
    writer, report, schedule = outcome.writer, outcome.report, outcome.writer.schedule
    lost = missing(outcome)
    newest = len(writer.log.files) - 1
    for line in lost:
        assert line.files != {newest}, f"lost although the server still had it: {line.text[:60]!r}"
        # lines skipped by an uncut stream have no known time, so their gap may be elsewhere
        skips = schedule.sticks or not schedule.drains
        found = schedule.clock_steps or skips or is_covered(line, report.gaps)
        assert found, f"lost and not reported: {line}, {report.gaps}"
    assert not lost or report.gaps
    assert report.complete is not True or not lost
    assert report.bytes == len(outcome.sink.out)
    if schedule.relay and not schedule.restarts:
        assert report.complete is not None
        assert not lost or sum(gap.bytes or 0 for gap in report.gaps) == sum(len(line.text) for line in lost)
        assert bool(lost) == (report.complete is False)
    disturbed = schedule.rotates or schedule.clock_steps or writer.log.cut_without_error
    if schedule.relay and not disturbed and writer.undisturbed_end:
        assert outcome.sink.err == writer.stderr
    if schedule.file_readable and not schedule.restarts and not schedule.clock_steps:
        assert not lost
