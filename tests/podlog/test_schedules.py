"""Random logs with faults of connections, files and clocks, each derived from a seed.

Each line that is written has to be delivered once and in order, or a gap has to be reported.
"""

import os

import pytest
from tests.support.log_schedules import Outcome, Schedule, is_covered, lost_lines, run_schedule

SEEDS = int(os.environ.get("PODLOG_SCHEDULES", "300"))
FIRST_SEED = int(os.environ.get("PODLOG_FIRST", "0"))
SEEDS_PER_TEST = 100


@pytest.mark.looptime
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SEEDS, SEEDS_PER_TEST))
async def test_every_line_is_delivered_once_in_order_or_reported_as_gap(first: int) -> None:
    for seed in range(first, min(first + SEEDS_PER_TEST, FIRST_SEED + SEEDS)):
        try:
            judge(await run_schedule(seed))
        except BaseException as error:
            error.add_note(f"PODLOG_FIRST={seed} PODLOG_SCHEDULES=1: {Schedule.of(seed)}")
            raise


def judge(outcome: Outcome) -> None:
    """Check that a lost line was out of reach and is in a reported gap, and that the totals are right."""
    writer, report, schedule = outcome.writer, outcome.report, outcome.writer.schedule
    lost = lost_lines(outcome)
    newest = len(writer.log.files) - 1
    for line in lost:
        assert line.files != {newest}, f"lost although the server still had it: {line.text[:60]!r}"
        # lines that an uncut stream skips have no known time, so their gap may be reported elsewhere
        skips = schedule.stays_at_rotated_file or not schedule.reads_rotated_file_to_end
        exempt = schedule.clock_steps or skips
        assert exempt or is_covered(line, report.gaps), f"lost and not reported: {line}, {report.gaps}"
    assert not lost or report.gaps
    # `complete` is True if it is proven, False if it is disproven, None if it is unknown
    assert report.complete is not True or not lost
    assert report.bytes == len(outcome.sink.out)
    if schedule.has_relay and not schedule.restarts:
        assert report.complete is not None
        assert not lost or sum(gap.bytes or 0 for gap in report.gaps) == sum(len(line.text) for line in lost)
        assert bool(lost) == (report.complete is False)
    stderr_may_be_lost = schedule.rotates or schedule.clock_steps or writer.log.cut_without_error
    if schedule.has_relay and not stderr_may_be_lost and writer.ends_without_faults:
        assert outcome.sink.err == writer.stderr
    if schedule.relay_file_readable and not schedule.restarts and not schedule.clock_steps:
        assert not lost
