"""Whatever happens to connections, files and clocks: every line once, in order, whole, or told as a gap."""

import os

import pytest
from tests.support.log_schedules import Life, Played, covered, missing, play

SCHEDULES = int(os.environ.get("PODLOG_SCHEDULES", "300"))
FIRST = int(os.environ.get("PODLOG_FIRST", "0"))
BLOCK = 100


@pytest.mark.looptime
@pytest.mark.parametrize("block", range(FIRST, FIRST + SCHEDULES, BLOCK))
async def test_every_line_comes_once_in_order_and_whole_or_is_told_as_a_gap(block: int) -> None:
    for seed in range(block, min(block + BLOCK, FIRST + SCHEDULES)):
        try:
            judge(await play(seed))
        except BaseException as error:
            error.add_note(f"PODLOG_FIRST={seed} PODLOG_SCHEDULES=1: {Life.of(seed)}")
            raise


def judge(played: Played) -> None:
    writer, report, life = played.writer, played.report, played.writer.life
    lost = missing(played)
    newest = len(writer.log.files) - 1
    for line in lost:
        assert line.files != {newest}, f"lost though the server still had it: {line.text[:60]!r}"
        unseen = life.sticks or not life.drains  # lost in a stream that nothing befell: sought elsewhere
        assert life.steps or unseen or covered(line, report.gaps), f"lost and not told: {line}, {report.gaps}"
    assert not lost or report.gaps
    assert report.complete is not True or not lost
    assert report.bytes == len(played.sink.out)
    if life.relay and not life.restarts:
        assert report.complete is not None
        assert not lost or sum(gap.bytes or 0 for gap in report.gaps) == sum(len(line.text) for line in lost)
        assert bool(lost) == (report.complete is False)
    if life.relay and not (life.rotates or life.steps or writer.log.cut_quietly) and writer.calm_end:
        assert played.sink.err == writer.stderr
    if life.filler and not life.restarts and not life.steps:
        assert not lost
