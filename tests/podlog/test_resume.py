from tests.support.kubelet_log import NANO, stamp

from paperclip_claude_k8s.podlog.log_lines import Key, Run, run_of
from paperclip_claude_k8s.podlog.position import Plan
from paperclip_claude_k8s.podlog.resume import Finding, Found, NotThere, Scan, Scattered, TooShort

BASE = 1_790_000_000 * NANO


def line(text: str, time: int = 0) -> Run:
    item = run_of(stamp(BASE + time) + text.encode())
    assert isinstance(item, Run)
    return item


def key(text: str) -> Key:
    return line(text).first().key()


def scanned(tail: str, answer: str, *, beginning: str = "", opening: str = "") -> Finding:
    """Every letter is a line."""
    plan = Plan(1, None, key(opening) if opening else None, tuple(map(key, tail)))
    scan = Scan(plan, key(beginning) if beginning else None)
    for text in answer:
        scan.feed(line(text))
    return scan.finding()


def passed_over(finding: Finding) -> int | None:
    assert isinstance(finding, Found), finding
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
    assert scanned("xyz", "new") == NotThere(key("n"), 3)
    assert scanned("xyz", "") == NotThere(None, 0)


def test_an_answer_that_ends_within_our_lines_was_cut() -> None:
    assert scanned("abcxyz", "abc") == TooShort()
    assert scanned("abcxyz", "?bc") == TooShort()


def test_an_answer_that_has_the_beginning_of_all_was_cut() -> None:
    assert scanned("xyz", "abc", beginning="a") == TooShort()
    assert scanned("xyz", "abc", opening="a") == TooShort()


def test_strange_lines_between_ours_are_a_loss_that_is_told() -> None:
    finding = scanned("abcxyz", "abc?xyznew")
    assert isinstance(finding, Scattered)
    assert finding.plan.count == 7
    assert finding.plan.lost
    again, other = scanned("abcxyz", "abc?xyznewer"), scanned("abcxyz", "abc??xyznew")
    assert isinstance(again, Scattered)
    assert isinstance(other, Scattered)
    assert finding.confirms(again)
    assert not finding.confirms(other)


def test_an_answer_that_was_cut_inside_our_lines_says_nothing_even_if_one_looks_like_the_last() -> None:
    assert scanned("xyxyz", "zabcxyx") == TooShort()


def test_only_answers_that_are_no_shorter_confirm_a_loss() -> None:
    assert NotThere(key("n"), 3).confirms(NotThere(key("n"), 3))
    assert NotThere(key("n"), 3).confirms(NotThere(None, 0))
    assert not NotThere(key("n"), 2).confirms(NotThere(key("n"), 3))
    assert not NotThere(key("m"), 3).confirms(NotThere(key("n"), 3))
