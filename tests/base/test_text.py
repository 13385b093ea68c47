"""Hidden characters are made visible in text for people, and escaped in JSON."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON, ANY_TEXT

from paperclip_claude_k8s.base.text import escape_in_json, neutral

HIDDEN = [
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char not in "\n\t"
]
"""Every character that controls a terminal, is invisible, or ends a line, by this Python's Unicode tables."""


def test_neutral_leaves_no_hidden_character() -> None:
    shown = neutral("".join(HIDDEN))
    assert not set(shown) & set(HIDDEN)


def test_escaped_json_has_no_hidden_character_and_the_same_value() -> None:
    encodable = "".join(char for char in HIDDEN if unicodedata.category(char) != "Cs")
    text = escape_in_json(json.dumps(encodable, ensure_ascii=False))
    assert not set(text) & set(HIDDEN)
    assert json.loads(text) == encodable


@given(ANY_TEXT)
def test_neutral_of_neutral_text_changes_nothing(text: str) -> None:
    assert neutral(neutral(text)) == neutral(text)
    neutral(text).encode()


@given(ANY_JSON, st.sampled_from((None, 2)))
def test_escaped_json_means_the_same(value: object, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    assert json.loads(escape_in_json(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\u241b[2Jb"),
        ("one\ttwo\nthree", "one\ttwo\nthree"),
        ("a\r\nb", "a\u240d\nb"),
        ("\x7f", "\u2421"),
        ("\x9b31m", "\ufffd31m"),
        ("pay\u202egnp.exe", "pay\ufffdgnp.exe"),
        ("a\u200bb", "a\ufffdb"),
        ("hy\u00adphen", "hyphen"),
        ("\U0001f468\u200d\U0001f467", "\U0001f468\U0001f467"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("Grüße, 日本語, עברית", "Grüße, 日本語, עברית"),
    ],
)
def test_neutral_keeps_ordinary_text_and_replaces_or_removes_hidden_characters(text: str, shown: str) -> None:
    assert neutral(text) == shown


def test_json_escapes_characters_beyond_16_bits_as_pairs() -> None:
    assert escape_in_json('"\U000e0041"') == '"\\udb40\\udc41"'
