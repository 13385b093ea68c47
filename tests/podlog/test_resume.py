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

BASE = 1_790_000_000 * NANO


def line(text: str, time: int = 0) -> LineBatch:
    item = batch_of(stamp(BASE + time) + text.encode())
    assert isinstance(item, LineBatch)
    return item


def key(text: str) -> LineKey:
    return line(text).first().key()


def scanned(tail: str, answer: str, *, beginning: str = "", opening: str = "") -> ScanResult:
    """Every letter is a line."""
    plan = ResumePlan(1, None, key(opening) if opening else None, tuple(map(key, tail)))
    scan = Scan(plan, key(beginning) if beginning else None)
    for text in answer:
        scan.feed(line(text))
    return scan.result()


def passed_over(finding: ScanResult) -> int | None:
    assert isinstance(finding, TailFound), finding
    return finding.plan.count


def test_the_tail_is_found_behind_lines_long_forgotten() -> None:
    assert passed_over(scanned("xyz", "abcxyznew")) == 6


def test_the_tail_is_found_where_the_answer_begins_inside_it() -> None:
    assert passed_over(scanned("abcxyz", "yznew")) == 2


def test_the_rest_of_a_torn_line_may_come_first() -> None:
    assert passed_over(scanned("abcxyz", "?yznew")) == 3


def test_repeated_lines_are_passed_over_as_far_as_they_can_be_ours() -> None:
    assert passed_over(scanned("aaab", "aabnew")) == 3
    assert passed_over(scanned("ababab", "abababab")) == 6


def test_an_answer_without_our_lines_has_lost_them() -> None:
    assert scanned("xyz", "new") == TailMissing(key("n"), 3)
    assert scanned("xyz", "") == TailMissing(None, 0)


def test_an_answer_that_ends_within_our_lines_was_cut() -> None:
    assert scanned("abcxyz", "abc") == ResponseCut()
    assert scanned("abcxyz", "?bc") == ResponseCut()


def test_an_answer_that_has_the_beginning_of_all_was_cut() -> None:
    assert scanned("xyz", "abc", beginning="a") == ResponseCut()
    assert scanned("xyz", "abc", opening="a") == ResponseCut()


def test_strange_lines_between_ours_are_a_loss_that_is_told() -> None:
    finding = scanned("abcxyz", "abc?xyznew")
    assert isinstance(finding, TailInterleaved)
    assert finding.plan.count == 7
    assert finding.plan.lost
    again, other = scanned("abcxyz", "abc?xyznewer"), scanned("abcxyz", "abc??xyznew")
    assert isinstance(again, TailInterleaved)
    assert isinstance(other, TailInterleaved)
    assert finding.confirms(again)
    assert not finding.confirms(other)


def test_an_answer_that_was_cut_inside_our_lines_says_nothing_even_if_one_looks_like_the_last() -> None:
    assert scanned("xyxyz", "zabcxyx") == ResponseCut()


def test_only_answers_that_are_no_shorter_confirm_a_loss() -> None:
    assert TailMissing(key("n"), 3).confirms(TailMissing(key("n"), 3))
    assert TailMissing(key("n"), 3).confirms(TailMissing(None, 0))
    assert not TailMissing(key("n"), 2).confirms(TailMissing(key("n"), 3))
    assert not TailMissing(key("m"), 3).confirms(TailMissing(key("n"), 3))
