"""The relay's own lines in a log are recognised by a prefix and separated from stdout."""

import pytest

from paperclip_claude_k8s.podlog.marks import Bookmark, Marks, Stderr, Stdout

PREFIX = b"\x1e0badc0de "


def test_marked_lines_are_separated_from_stdout_in_order() -> None:
    text = b"one\ntwo\n" + PREFIX + b"e oops\n" + PREFIX + b"b 8 2\nthree\n"
    assert list(Marks("0badc0de").parts(text)) == [
        Stdout(b"one\ntwo\n", 2),
        Stderr(b"oops\n"),
        Bookmark(8, 2),
        Stdout(b"three\n", 1),
    ]


def test_last_line_that_had_no_newline_is_delivered_without_one() -> None:
    assert list(Marks("0badc0de").parts(b"one\nend" + PREFIX + b"n\n")) == [
        Stdout(b"one\n", 1),
        Stdout(b"end", 1),
    ]


def test_stderr_line_may_be_empty_or_contain_marks() -> None:
    assert list(Marks("0badc0de").parts(PREFIX + b"e \n" + PREFIX + b"e \xff\x1e b 1 2\n")) == [
        Stderr(b"\n\xff\x1e b 1 2\n"),
    ]


@pytest.mark.parametrize("rest", [b"b 1", b"b x y", b"z", b"", b"b 1 2 3"])
def test_unknown_mark_never_reaches_stdout(rest: bytes) -> None:
    assert list(Marks("0badc0de").parts(b"one\n" + PREFIX + rest + b"\n")) == [Stdout(b"one\n", 1)]


def test_marks_of_another_run_are_text() -> None:
    text = b"\x1e11111111 e not ours\n"
    assert Marks("0badc0de").none_in(text)
    assert Marks(None).none_in(PREFIX + b"e no relay is known\n")
    assert list(Marks(None).parts(text)) == [Stdout(text, 1)]


def test_mark_within_a_line_is_text() -> None:
    text = b"before " + PREFIX + b"b 1 2\n"
    assert list(Marks("0badc0de").parts(text)) == [Stdout(text, 1)]
