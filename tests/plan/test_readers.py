import math
from typing import Any

import pytest

from paperclip_claude_k8s.plan import tolerant_readers


@pytest.mark.parametrize(
    ("value", "read"), [("x", "x"), (" ", " "), ("", "d"), (None, "d"), (3, "d"), (["x"], "d")]
)
def test_text_is_a_non_empty_string_as_it_is(value: object, read: str) -> None:
    assert tolerant_readers.as_text(value, "d") == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (3, 3),
        (1.5, 1.5),
        (0, 0),
        ("3", 9),
        (True, 9),
        (math.nan, 9),
        (math.inf, 9),
        (None, 9),
        (10**400, 10**400),
    ],
)
def test_a_number_is_a_finite_number(value: object, read: float) -> None:
    assert tolerant_readers.as_number(value, 9) == read


@pytest.mark.parametrize(
    ("value", "read"), [(True, True), (False, False), ("true", False), (1, False), (None, False)]
)
def test_a_flag_is_a_real_boolean(value: object, read: bool) -> None:  # noqa: FBT001
    assert tolerant_readers.as_flag(value) is read
    assert tolerant_readers.as_flag(None, default=True) is True


@pytest.mark.parametrize(
    ("value", "read"), [(["a", "", 3, None], ["a", ""]), ("a", []), (None, []), ({"a": 1}, [])]
)
def test_texts_are_the_strings_of_a_list(value: object, read: list[str]) -> None:
    assert tolerant_readers.as_texts(value) == read


@pytest.mark.parametrize(
    ("value", "read"), [({"a": 1}, {"a": 1}), ({1: 2}, {}), ([1], {}), ("x", {}), (None, {})]
)
def test_an_object_is_a_plain_object(value: object, read: dict[str, Any]) -> None:
    assert tolerant_readers.as_object(value) == read


def test_labels_are_trimmed_and_never_empty() -> None:
    assert [tolerant_readers.as_label(value) for value in (" a ", "  ", 3, None)] == ["a", None, None, None]
    assert tolerant_readers.as_labels([" a ", "", " ", 3, "b"]) == ["a", "b"]
    assert tolerant_readers.as_objects([{"a": 1}, {}, "x", None]) == [{"a": 1}]
