"""Readers of JSON: what they return for values of the expected type and of other types."""

import math
from typing import Any

import pytest

from paperclip_claude_k8s.base import json_readers


@pytest.mark.parametrize(
    ("value", "expected"), [("x", "x"), (" ", " "), ("", "d"), (None, "d"), (3, "d"), (["x"], "d")]
)
def test_as_text_keeps_non_empty_strings(value: object, expected: str) -> None:
    assert json_readers.as_text(value, default="d") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (1.5, 1.5),
        (0, 0),
        ("3", 9),
        (True, 9),
        (math.nan, 9),
        (math.inf, 9),
        (None, 9),
        (10**300, 10**300),
        (10**400, 9),
        (-(2**1024), 9),
    ],
)
def test_as_number_accepts_finite_numbers_only(value: object, expected: float) -> None:
    assert json_readers.as_number(value, default=9) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("true", False), (1, False), (None, False)]
)
def test_as_flag_accepts_booleans_only(value: object, expected: bool) -> None:  # noqa: FBT001
    assert json_readers.as_flag(value) is expected
    assert json_readers.as_flag(None, default=True) is True


@pytest.mark.parametrize(
    ("value", "expected"), [(["a", "", 3, None], ["a", ""]), ("a", []), (None, []), ({"a": 1}, [])]
)
def test_as_texts_keeps_the_strings_of_a_list(value: object, expected: list[str]) -> None:
    assert json_readers.as_texts(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [({"a": 1}, {"a": 1}), ({1: 2}, {}), ([1], {}), ("x", {}), (None, {})]
)
def test_as_object_drops_keys_that_are_not_strings(value: object, expected: dict[str, Any]) -> None:
    assert json_readers.as_object(value) == expected


def test_as_trimmed_trims_and_drops_empty_strings() -> None:
    assert [json_readers.as_trimmed(value) for value in (" a ", "  ", 3, None)] == ["a", None, None, None]
    assert json_readers.as_trimmed_texts([" a ", "", " ", 3, "b"]) == ["a", "b"]


def test_as_objects_drops_empty_objects_and_other_types() -> None:
    assert json_readers.as_objects([{"a": 1}, {}, "x", None]) == [{"a": 1}]


FIELDS: dict[str, Any] = {
    "text": "",
    "object": {"a": "b", "c": 1},
    "list": [{}, {"a": 1}, "x"],
    "number": 1.5,
    "int": 2,
    "flag": True,
    "nan": math.nan,
}


def test_get_readers_return_fields_of_their_type() -> None:
    assert json_readers.get_text({"a": "b"}, "a") == "b"
    assert json_readers.get_object(FIELDS, "object") is FIELDS["object"]
    assert json_readers.get_text_map(FIELDS, "object") == {"a": "b"}
    assert json_readers.get_list(FIELDS, "list") is FIELDS["list"]
    assert json_readers.get_objects(FIELDS, "list") == [{}, {"a": 1}]
    assert json_readers.get_number(FIELDS, "number") == 1.5
    assert json_readers.get_int(FIELDS, "int") == 2


@pytest.mark.parametrize("key", ["missing", "flag", "nan"])
def test_get_readers_treat_other_types_as_absent(key: str) -> None:
    assert json_readers.get_text(FIELDS, key) == ""
    assert json_readers.get_object(FIELDS, key) == json_readers.get_text_map(FIELDS, key) == {}
    assert json_readers.get_list(FIELDS, key) == json_readers.get_objects(FIELDS, key) == []
    assert json_readers.get_number(FIELDS, key) is json_readers.get_int(FIELDS, key) is None
