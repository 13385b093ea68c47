"""What we print is JSON for every reader: any value, any text."""

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.any_json import ANY_TEXT, ODD_JSON

from paperclip_claude_k8s.base.strict_json import DEEPEST, TOO_DEEP, readable, strict_json


@given(ODD_JSON, st.sampled_from((None, 2)))
@settings(max_examples=300)
def test_any_value_is_read_by_a_strict_reader_and_means_the_same(value: Any, indent: int | None) -> None:
    text = strict_json(value, indent=indent)
    assert json.loads(text.decode("utf-8")) == orjson.loads(text) == readable(value)


@given(ANY_TEXT)
def test_a_text_that_utf_8_can_hold_is_not_changed(text: str) -> None:
    if not any("\ud800" <= sign <= "\udfff" for sign in text):
        assert readable(text) == text


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("a\ud800b", '"a\ufffdb"'),
        ("\ud83d\ude00", '"\U0001f600"'),
        ({"\udfff": 1}, '{"\ufffd":1}'),
        ([math.nan, math.inf, -math.inf, 10**400], "[null,null,null,null]"),
        (2**64, "1.8446744073709552e+19"),
        ((1, True, None), "[1,true,null]"),
    ],
)
def test_what_strict_readers_refuse_is_replaced(value: object, printed: str) -> None:
    assert strict_json(value).decode() == printed


def test_nesting_ends_somewhere() -> None:
    value: Any = "x"
    for _ in range(900):
        value = [value]
    text = strict_json(value)
    assert TOO_DEEP in text.decode()
    assert text.count(b"[") == DEEPEST


def test_a_stranger_is_an_error_and_not_a_text() -> None:
    with pytest.raises(TypeError):
        strict_json(object())
