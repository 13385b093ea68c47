"""Scans of whole responses for the last delivered lines (the tail)."""

from tests.support.kubelet_log import NANO, stamp

from paperclip_claude_k8s.podlog.log_lines import LineBatch, LineKey, batch_of
from paperclip_claude_k8s.podlog.position import ResumePlan
from paperclip_claude_k8s.podlog.resume import (
    ResponseCut,
    Scan,
    ScanResult,
    TailFound,
    TailInterleaved,
    TailMissing,
)

BASE = 1_790_000_000 * NANO  # an arbitrary Unix time in nanoseconds


def line(text: str, time: int = 0) -> LineBatch:
    item = batch_of(stamp(BASE + time) + text.encode())
    assert isinstance(item, LineBatch)
    return item


def key(text: str) -> LineKey:
    return line(text).first().key()


def scanned(tail: str, response: str, *, beginning: str = "", opening: str = "") -> ScanResult:
    """The result of scanning `response` for `tail`, where each letter is a line.

    `beginning`: the first line ever delivered; `opening`: the expected first line of `response`.
    """
    plan = ResumePlan(
        since=1, count=None, opening=key(opening) if opening else None, tail=tuple(map(key, tail))
    )
    scan = Scan(plan, key(beginning) if beginning else None)
    for text in response:
        scan.feed(line(text))
    return scan.result()


def lines_to_skip(result: ScanResult) -> int | None:
    assert isinstance(result, TailFound), result
    return result.plan.count


def test_tail_is_found_after_other_lines() -> None:
    assert lines_to_skip(scanned("xyz", "abcxyznew")) == 6


def test_tail_is_found_if_response_begins_inside_it() -> None:
    assert lines_to_skip(scanned("abcxyz", "yznew")) == 2


def test_rest_of_truncated_line_may_come_first() -> None:
    assert lines_to_skip(scanned("abcxyz", "?yznew")) == 3


def test_repeated_lines_are_skipped_as_far_as_delivered() -> None:
    assert lines_to_skip(scanned("aaab", "aabnew")) == 3
    assert lines_to_skip(scanned("ababab", "abababab")) == 6


def test_response_without_delivered_lines_is_a_loss() -> None:
    assert scanned("xyz", "new") == TailMissing(key("n"), 3)
    assert scanned("xyz", "") == TailMissing(None, 0)


def test_response_that_ends_within_delivered_lines_was_cut() -> None:
    assert scanned("abcxyz", "abc") == ResponseCut()
    assert scanned("abcxyz", "?bc") == ResponseCut()


def test_response_with_first_line_but_without_tail_was_cut() -> None:
    assert scanned("xyz", "abc", beginning="a") == ResponseCut()
    assert scanned("xyz", "abc", opening="a") == ResponseCut()


def test_unknown_lines_between_delivered_ones_are_a_loss_if_confirmed() -> None:
    result = scanned("abcxyz", "abc?xyznew")
    assert isinstance(result, TailInterleaved)
    assert result.plan.count == 7
    assert result.plan.lost
    again, other = scanned("abcxyz", "abc?xyznewer"), scanned("abcxyz", "abc??xyznew")
    assert isinstance(again, TailInterleaved)
    assert isinstance(other, TailInterleaved)
    assert result.confirms(again)
    assert not result.confirms(other)


def test_cut_response_with_an_early_line_equal_to_the_last_is_recognised() -> None:
    assert scanned("xyxyz", "zabcxyx") == ResponseCut()


def test_shorter_or_different_response_does_not_confirm_a_loss() -> None:
    assert TailMissing(key("n"), 3).confirms(TailMissing(key("n"), 3))
    assert TailMissing(key("n"), 3).confirms(TailMissing(None, 0))
    assert not TailMissing(key("n"), 2).confirms(TailMissing(key("n"), 3))
    assert not TailMissing(key("m"), 3).confirms(TailMissing(key("n"), 3))
