"""When a waiting command polls (intervals, schedules and their extension), and which polls it reports."""

import itertools

import pytest

from paperclip_claude_k8s.cli.runs.poller import PollSettings, extend_pauses, is_reported, read_schedule
from paperclip_claude_k8s.cli.runs.replies import Stop

HOUR_MS = 3_600_000
DEFAULT_INTERVAL = 15.0


def test_default_schedule_polls_every_15_seconds_for_600_seconds() -> None:
    schedule = read_schedule(None, DEFAULT_INTERVAL, timeout=None, settings=PollSettings())
    assert list(itertools.islice(schedule.waits(), 3)) == [15.0, 15.0, 15.0]
    assert (schedule.timeout, schedule.count) == (600.0, None)


def test_schedule_shorter_than_an_hour_is_extended_to_an_hour() -> None:
    pauses = extend_pauses((5_000, 10_000), PollSettings())
    assert pauses[:2] == (5_000, 10_000)
    assert set(pauses[2:]) == {30_000}
    assert HOUR_MS <= sum(pauses) < HOUR_MS + 30_000


def test_schedule_of_an_hour_is_not_extended() -> None:
    assert extend_pauses((HOUR_MS, 1), PollSettings()) == (HOUR_MS, 1)


def test_poll_schedule_has_no_timeout_unless_one_is_given() -> None:
    assert read_schedule("5000", DEFAULT_INTERVAL, timeout=None, settings=PollSettings()).timeout is None
    assert read_schedule("5000", DEFAULT_INTERVAL, timeout=40.0, settings=PollSettings()).timeout == 40.0


@pytest.mark.parametrize("off", ["0", "false"])
def test_min_total_0_or_false_disables_the_extension(off: str) -> None:
    settings = PollSettings.read({"CLAUDE_K8S_POLL_MIN_TOTAL_MS": off})
    assert extend_pauses((5_000,), settings) == (5_000,)


def test_min_total_is_the_minimum_sum() -> None:
    settings = PollSettings.read({"CLAUDE_K8S_POLL_MIN_TOTAL_MS": "60000"})
    assert extend_pauses((5_000,), settings) == (5_000, 30_000, 30_000)


@pytest.mark.parametrize(("given", "step"), [("2000", 2_000), ("10", 1_000), ("0", 1_000), ("", 30_000)])
def test_extend_step_is_30000_by_default_and_at_least_1000(given: str, step: int) -> None:
    assert PollSettings.read({"CLAUDE_K8S_POLL_EXTEND_STEP_MS": given}).extend_step_ms == step


@pytest.mark.parametrize(("given", "errors"), [("", 5), ("2", 2), ("0", 1)])
def test_max_errors_is_5_by_default_and_at_least_1(given: str, errors: int) -> None:
    assert PollSettings.read({"CLAUDE_K8S_POLL_MAX_CONSECUTIVE_ERRORS": given}).max_errors == errors


@pytest.mark.parametrize(("given", "shown"), [("", True), ("1", True), ("0", False), ("false", False)])
def test_progress_0_or_false_disables_progress_lines(given: str, shown: bool) -> None:  # noqa: FBT001
    assert PollSettings.read({"CLAUDE_K8S_PROGRESS": given}).progress is shown


def test_first_and_last_poll_and_every_third_poll_are_reported() -> None:
    reported = [poll for poll in range(1, 12) if is_reported(poll, last=poll == 11)]
    assert reported == [1, 3, 6, 9, 11]


@pytest.mark.parametrize("given", ["", "x", "0", "-1", "1.5", "5000,,abc"])
def test_invalid_schedule_is_refused(given: str) -> None:
    with pytest.raises(Stop, match="expected milliseconds"):
        read_schedule(given, DEFAULT_INTERVAL, timeout=None, settings=PollSettings())


def test_trailing_comma_in_a_schedule_is_ignored() -> None:
    schedule = read_schedule("5,", DEFAULT_INTERVAL, timeout=None, settings=PollSettings())
    assert schedule.pauses[0] == 0.005  # 5 ms, in seconds


@pytest.mark.parametrize("name", ["CLAUDE_K8S_POLL_MIN_TOTAL_MS", "CLAUDE_K8S_POLL_EXTEND_STEP_MS"])
def test_variable_that_is_not_a_number_is_named(name: str) -> None:
    with pytest.raises(Stop, match=f"{name}=soon: expected a whole number"):
        PollSettings.read({name: "soon"})


@pytest.mark.parametrize(("interval", "timeout"), [(0.0, None), (-1.0, None), (15.0, 0.0)])
def test_interval_and_timeout_must_be_positive(interval: float, timeout: float | None) -> None:
    with pytest.raises(Stop, match="expected seconds above 0"):
        read_schedule(None, interval, timeout, PollSettings())
