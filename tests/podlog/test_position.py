"""Which lines of a response are new after a reconnect. A `Position` knows the lines that were delivered."""

import time

import pytest
from tests.support.kubelet_log import NANO, stamp

from paperclip_claude_k8s.podlog.log_lines import LineBatch, batch_of
from paperclip_claude_k8s.podlog.position import TAIL_BYTES, Position
from paperclip_claude_k8s.podlog.resume import Misaligned, Replay

BASE = 1_790_000_000  # an arbitrary Unix time in seconds


def line(tenths: int, text: str) -> LineBatch:
    """One line. `tenths`: its time after `BASE`, in tenths of a second."""
    item = batch_of(stamp(BASE * NANO + tenths * NANO // 10) + text.encode())
    assert isinstance(item, LineBatch)
    return item


def position_of(*lines: tuple[int, str]) -> Position:
    position = Position()
    for tenths, text in lines:
        position.add(line(tenths, text))
    return position


def resumed(position: Position, *response: tuple[int, str]) -> list[str]:
    """The lines of the response that are new after this position."""
    replay = Replay(position.plan())
    new = [replay.skip_delivered(line(tenths, text)) for tenths, text in response]
    return [batch.text.decode().strip() for batch in new if batch]


EXAMPLE = ((79, "a"), (81, "b"), (81, "b"), (92, "c"), (104, "d"), (104, "d"))


def test_example_in_docstring_of_position_is_correct() -> None:
    position = position_of(*EXAMPLE)
    plan = position.plan()
    assert plan.since == BASE + 8  # the second of the last line, minus the overlap of 2 s
    assert plan.count == 5
    assert resumed(position, *EXAMPLE[1:], (104, "d"), (110, "e")) == ["d", "e"]


def test_lines_out_of_order_within_overlap_are_counted() -> None:
    lines = ((100, "out"), (95, "err"), (101, "out"), (89, "late"), (102, "out"))
    assert resumed(position_of(*lines), *lines, (96, "new"), (103, "newer")) == ["new", "newer"]


def test_thousands_of_equal_lines_are_counted() -> None:
    burst = [(50, "same")] * 3000
    assert resumed(position_of(*burst), *burst, (50, "same"), (50, "same")) == ["same", "same"]


def test_stamped_rest_of_earlier_line_is_skipped() -> None:
    assert resumed(position_of(*EXAMPLE), (80, "rest of a"), *EXAMPLE[1:], (110, "e")) == ["e"]


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(((92, "c"), (104, "d"), (104, "d"), (110, "e")), id="rotated within what was delivered"),
        pytest.param(((110, "e"), (111, "f")), id="rotated beyond what was delivered"),
        pytest.param((*EXAMPLE[1:5], (104, "x")), id="other lines than the delivered ones"),
    ],
)
def test_response_that_differs_from_plan_raises_misaligned(response: tuple[tuple[int, str], ...]) -> None:
    with pytest.raises(Misaligned):
        resumed(position_of(*EXAMPLE), *response)


def test_clock_set_back_makes_count_unknown() -> None:
    position = position_of(*[(tenths, "x") for tenths in range(0, 900, 5)], (100, "after the step"))
    plan = position.plan()
    assert plan.since == BASE + 8  # the second of the last line, minus the overlap of 2 s
    assert plan.count is None


def test_clock_set_forward_needs_no_scan() -> None:
    assert position_of((0, "a"), (36_000, "b")).plan().count == 1


def test_times_that_run_backwards_take_little_time_and_lose_no_line() -> None:
    backwards = [(10_000_000 - 30 * number, "x") for number in range(20_000)]
    began = time.thread_time()
    position = position_of(*backwards)
    assert time.thread_time() - began < 5
    assert position.plan().count is None
    for tenths in range(10_000_010, 10_000_400, 10):
        position.add(line(tenths, "later"))
    assert position.plan().count == 3  # the lines of the last second and of the overlap of 2 s


def test_burst_of_lines_does_not_grow_memory() -> None:
    position = Position()
    for number in range(2000):
        position.add(line(50, f"{number} " + "x" * 5000))
    plan = position.plan()
    assert plan.count == 2000
    assert len(plan.tail) <= TAIL_BYTES // 5000
    assert plan.tail[-1] == line(50, "1999 " + "x" * 5000).first().key()
