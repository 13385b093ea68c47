"""`strict_json`: its output for any value and any text is accepted by strict parsers."""

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.any_json import ANY_TEXT, ODD_JSON

from paperclip_claude_k8s.base.strict_json import MAX_DEPTH, TOO_DEEP, is_too_deep, strict_copy, strict_json


@given(ODD_JSON, st.sampled_from((None, 2)))
@settings(max_examples=300)
def test_strict_json_of_any_value_is_read_equally_by_two_parsers(value: Any, indent: int | None) -> None:
    text = strict_json(value, indent=indent)
    assert json.loads(text.decode("utf-8")) == orjson.loads(text) == strict_copy(value)


@given(ANY_TEXT)
def test_strict_json_keeps_valid_text(text: str) -> None:
    if not any("\ud800" <= char <= "\udfff" or char == "\0" for char in text):
        assert strict_copy(text) == text


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("a\ud800b", '"a\ufffdb"'),
        ("a\0b", '"a\ufffdb"'),
        ("\ud83d\ude00", '"\U0001f600"'),
        ({"\udfff": 1}, '{"\ufffd":1}'),
        ([math.nan, math.inf, -math.inf, 10**400], "[null,null,null,null]"),
        (2**64, "1.8446744073709552e+19"),
        ((1, True, None), "[1,true,null]"),
    ],
)
def test_strict_json_replaces_what_strict_readers_reject(value: object, printed: str) -> None:
    assert strict_json(value).decode() == printed


def nested(levels: int) -> Any:
    """Lists in lists; the innermost one has a text."""
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def test_strict_json_limits_nesting() -> None:
    text = strict_json(nested(900))
    assert TOO_DEEP in text.decode()
    assert text.count(b"[") == MAX_DEPTH


@pytest.mark.parametrize("levels", [0, 1, MAX_DEPTH, MAX_DEPTH + 1, 900])
def test_value_is_too_deep_if_strict_json_leaves_a_level_out(levels: int) -> None:
    left_out = TOO_DEEP in strict_json(nested(levels)).decode()
    assert is_too_deep(nested(levels)) == left_out == (levels > MAX_DEPTH)


def test_objects_count_as_levels_like_lists() -> None:
    assert not is_too_deep({"a": [{"b": 1}]}, levels=3)
    assert is_too_deep({"a": [{"b": {}}]}, levels=3)


def test_strict_json_rejects_other_types() -> None:
    with pytest.raises(TypeError):
        strict_json(object())
