"""Messages between host and bridge: one JSON line each; a line that is no valid message is refused."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_json import ANY_JSON, ANY_TEXT

from paperclip_claude_k8s.base.strict_json import strict_copy
from paperclip_claude_k8s.bridge.wire import (
    Ack,
    Call,
    Cancel,
    Hello,
    Leave,
    WireInvalid,
    callback,
    encode,
    read_message,
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"type":"leave","id":7}', Leave(7)),
        ('{"type":"hello","protocol":1,"version":"0.1.0"}', Hello(1, "0.1.0")),
        ('{"type":"call","id":7,"method":"models"}', Call(7, "models", {})),
        ('{"type":"call","id":7,"method":"m","params":{"a":1}}', Call(7, "m", {"a": 1})),
        ('{"type":"ack","id":7,"n":3}', Ack(7, 3)),
        ('{"type":"ack","id":7,"n":3,"error":"full"}', Ack(7, 3, "full")),
        ('{"type":"cancel","id":7}', Cancel(7)),
        ('{"type":"cancel","id":7,"reason":"Stop","new":true}', Cancel(7, "Stop")),
    ],
)
def test_message_of_each_type_is_read(line: str, message: object) -> None:
    assert read_message(line.encode()) == message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"sk-secret-token", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "nested deeper than 200 levels"),
        (b'["sk-secret-token"]', "not a JSON object"),
        (b"{}", "no known type"),
        (b'{"type":"shout","token":"sk-secret-token"}', "no known type"),
        (b'{"type":"call","id":"sk-secret-token","method":"m"}', "whole number as id"),
        (b'{"type":"call","id":true,"method":"m"}', "whole number as id"),
        (b'{"type":"call","id":1,"method":""}', "string as method"),
        (b'{"type":"call","id":1,"method":"m","params":["sk-secret-token"]}', "object as params"),
        (b'{"type":"ack","id":1}', "whole number as n"),
        (b'{"type":"hello","protocol":1}', "string as version"),
    ],
)
def test_read_message_error_says_why_and_quotes_nothing(line: bytes, reason: str) -> None:
    with pytest.raises(WireInvalid, match=reason) as caught:
        read_message(line)
    assert "sk-secret-token" not in str(caught.value)


@given(ANY_JSON)
def test_read_message_of_any_json_succeeds_or_raises_wire_invalid(value: Any) -> None:
    try:
        read_message(json.dumps(value).encode())
    except WireInvalid:
        return


@given(st.text(st.characters(exclude_categories=(), exclude_characters="\0")))
def test_encode_any_text_is_one_line(text: str) -> None:
    line = encode(callback(1, 2, "onLog", ("stdout", text)))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["args"] == ["stdout", strict_copy(text)]


@given(ANY_TEXT, ANY_TEXT)
def test_encode_any_text_is_strict_utf8_json(key: str, text: str) -> None:
    line = encode({"type": "result", "id": 1, "value": {key: [text]}})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    sent = orjson.loads(line)["value"]
    # both sides in the form of `strict_copy`, because `encode` keeps NUL unless a text has a surrogate
    assert strict_copy(sent) == {strict_copy(key): [strict_copy(text)]}
