"""When a waiting shell looks: seed 000 (schedules, their extension, progress) and seed 001 (intervals)."""

import itertools

import pytest

from paperclip_claude_k8s.cli.runs.poll_schedule import Tuning, extended, is_told, read_schedule
from paperclip_claude_k8s.cli.runs.replies import Stop

HOUR = 3_600_000


def test_seed_001_looks_each_15_seconds_and_waits_600() -> None:
    schedule = read_schedule(None, 15.0, None, Tuning())
    assert list(itertools.islice(schedule.waits(), 3)) == [15.0, 15.0, 15.0]
    assert (schedule.timeout, schedule.count) == (600.0, None)


def test_seed_000_a_schedule_below_an_hour_is_extended_to_one() -> None:
    pauses = extended((5_000, 10_000), Tuning())
    assert pauses[:2] == (5_000, 10_000)
    assert set(pauses[2:]) == {30_000}
    assert HOUR <= sum(pauses) < HOUR + 30_000


def test_seed_000_a_schedule_of_an_hour_is_used_as_it_is() -> None:
    assert extended((HOUR, 1), Tuning()) == (HOUR, 1)


def test_spec_12_a_schedule_has_no_timeout_unless_one_is_given() -> None:
    assert read_schedule("5000", 15.0, None, Tuning()).timeout is None
    assert read_schedule("5000", 15.0, 40.0, Tuning()).timeout == 40.0


@pytest.mark.parametrize("off", ["0", "false"])
def test_seed_000_min_total_0_or_false_uses_the_list_only(off: str) -> None:
    tuning = Tuning.read({"CLAUDE_K8S_POLL_MIN_TOTAL_MS": off})
    assert extended((5_000,), tuning) == (5_000,)


def test_seed_000_min_total_is_the_least_sum() -> None:
    tuning = Tuning.read({"CLAUDE_K8S_POLL_MIN_TOTAL_MS": "60000"})
    assert extended((5_000,), tuning) == (5_000, 30_000, 30_000)


@pytest.mark.parametrize(("given", "step"), [("2000", 2_000), ("10", 1_000), ("0", 1_000), ("", 30_000)])
def test_seed_000_extend_step_is_30000_and_at_least_1000(given: str, step: int) -> None:
    assert Tuning.read({"CLAUDE_K8S_POLL_EXTEND_STEP_MS": given}).extend_step_ms == step


@pytest.mark.parametrize(("given", "errors"), [("", 5), ("2", 2), ("0", 1)])
def test_seed_000_five_consecutive_errors_end_a_wait(given: str, errors: int) -> None:
    assert Tuning.read({"CLAUDE_K8S_POLL_MAX_CONSECUTIVE_ERRORS": given}).errors == errors


@pytest.mark.parametrize(("given", "shown"), [("", True), ("1", True), ("0", False), ("false", False)])
def test_seed_000_progress_0_silences_the_lines(given: str, shown: bool) -> None:  # noqa: FBT001
    assert Tuning.read({"CLAUDE_K8S_PROGRESS": given}).progress is shown


def test_seed_000_look_1_every_third_and_the_last_are_told() -> None:
    told = [look for look in range(1, 12) if is_told(look, last=look == 11)]
    assert told == [1, 3, 6, 9, 11]


@pytest.mark.parametrize("given", ["", "x", "5,", "0", "-1", "1.5", "5000,,abc"])
def test_a_schedule_that_is_none_is_told(given: str) -> None:
    if given == "5,":
        assert read_schedule(given, 15.0, None, Tuning()).pauses[0] == 0.005
        return
    with pytest.raises(Stop, match="expected milliseconds"):
        read_schedule(given, 15.0, None, Tuning())


@pytest.mark.parametrize("name", ["CLAUDE_K8S_POLL_MIN_TOTAL_MS", "CLAUDE_K8S_POLL_EXTEND_STEP_MS"])
def test_a_variable_that_is_no_number_is_named(name: str) -> None:
    with pytest.raises(Stop, match=f"{name}=soon: expected a whole number"):
        Tuning.read({name: "soon"})


@pytest.mark.parametrize(("interval", "timeout"), [(0.0, None), (-1.0, None), (15.0, 0.0)])
def test_times_that_make_no_sense_are_told(interval: float, timeout: float | None) -> None:
    with pytest.raises(Stop, match="expected seconds above 0"):
        read_schedule(None, interval, timeout, Tuning())
