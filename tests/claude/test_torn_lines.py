"""Torn lines: the Python and the JavaScript parser recognise the beginning of an event whose end is missing.

The fields of the event may have any order.
"""

import json
import random
import time
from typing import Any

import pytest
from tests.support.captures import ALL, NEW, recorded
from tests.support.ui_parser import TIMESTAMP, as_json, parsed_by_javascript

from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.claude.torn_lines import torn_event, torn_type
from paperclip_claude_k8s.claude.ui import parse_stdout_line


def recorded_events() -> list[dict[str, Any]]:
    """One event of each type, subtype and order of fields in the captures."""
    found: dict[object, dict[str, Any]] = {}
    for folder, name in ALL:
        for line in recorded(name, folder)[0].split(b"\n"):
            event = json.loads(line) if line.startswith(b"{") and line.endswith(b"}") else {}
            if event.get("type") and len(line) < 30_000:
                found.setdefault((event["type"], event.get("subtype"), *event), event)
    return list(found.values())


EVENTS = recorded_events()


def compact(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def in_any_order(event: dict[str, Any], seed: int) -> dict[str, Any]:
    """The event with another order of its fields, and of the fields of all objects in it."""
    items = list(event.items())
    random.Random(seed).shuffle(items)  # noqa: S311
    return {key: in_any_order(value, seed) if isinstance(value, dict) else value for key, value in items}


def torn_lines() -> list[tuple[str, str]]:
    """Type and beginning of each event, with the recorded order of its fields and with two others.

    Each is cut at three places after the field `type`.
    """
    reordered = [in_any_order(event, seed) for seed, event in enumerate([*EVENTS, *EVENTS])]
    lines = []
    for event in [*EVENTS, *reordered]:
        line, type_field = compact(event), f'"type":"{event["type"]}"'
        type_end = line.index(type_field) + len(type_field)
        cuts = {type_end, (type_end + len(line)) // 2, len(line) - 1}
        lines += [(event["type"], line[:cut]) for cut in cuts]
    return lines


UNKNOWN_TYPE = ""


def test_type_of_a_torn_event_is_found_whatever_the_order_of_its_fields() -> None:
    for kind, line in torn_lines():
        assert torn_event(line.encode()) == kind, line[:200]


def test_torn_event_is_not_shown_as_plain_text_by_either_parser() -> None:
    lines = [line for _, line in torn_lines()]
    for line, theirs in zip(lines, parsed_by_javascript(lines), strict=True):
        ours = parse_stdout_line(line, TIMESTAMP)
        assert as_json(ours) == theirs
        assert "stdout" not in {entry["kind"] for entry in ours}, line[:200]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{"type":"system","subtype":"in', "system"),
        ('{"type":"unheard_of","a":', "unheard_of"),
        ('{"', UNKNOWN_TYPE),
        ('{"ty', UNKNOWN_TYPE),
        ('{"duration_api', UNKNOWN_TYPE),
        ('{"is_error":', UNKNOWN_TYPE),
        ('{"type":"assist', UNKNOWN_TYPE),
        ('{"type":"', UNKNOWN_TYPE),
        ('{"is_error":f', "result"),
        ('{"duration_api_ms":57,"stop_', "result"),
        ('{"session_id":"s","uuid":"u","total_cost_usd":0', "result"),
        ('{"subtype":"success","session_id":"s', "result"),
        ('{"subtype":"init","session_id":"s', UNKNOWN_TYPE),
        ('{"uuid":"u","type":"assistant","mess', "assistant"),
        ('{"message":{"id":"m","role":"user","content":[{"type":"tool_result","content":"x', "user"),
        (
            '{"message":{"content":[{"type":"text","text":"a \\"b\\", {c: \\\\"}],"role":"assistant"',
            "assistant",
        ),
        ('{ "uuid" : "u" , "type" : "user" , "me', "user"),
        ('{"session_id":"bdb1fdb6-58', UNKNOWN_TYPE),
    ],
)
def test_type_of_a_torn_event_is_found_or_unknown(line: str, kind: str) -> None:
    assert torn_type(line) == kind
    assert parsed_by_javascript([line])[0] == as_json(parse_stdout_line(line, TIMESTAMP))
    assert parse_stdout_line(line, TIMESTAMP)[0]["kind"] != "stdout"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        '{"a',
        '{"level":"info","message":"the server has sta',
        '{"message":{"text":"role","x":"assistant","y',
        '{"name":"x","type":"module","ma',
        '{"input":{"type":"result","uuid":"u"',
        '{"text":"{\\"type\\":\\"result\\",',
        '{"result":"ok"} and more',
        '{}}}}}}}{"type":"result"',
        '["type":"result"',
        'done {"type":"result","sub',
    ],
)
def test_other_broken_json_is_plain_text(line: str) -> None:
    assert torn_type(line) is None
    assert parsed_by_javascript([line])[0] == as_json(parse_stdout_line(line, TIMESTAMP))
    kinds = [entry["kind"] for entry in parse_stdout_line(line, TIMESTAMP)]
    assert kinds == (["stdout"] if line else [])


def test_end_of_a_long_result_is_not_shown_as_raw_json() -> None:
    """The Paperclip host shortens a long chunk to its first and its last part."""
    lines = recorded("13f-200k-result", NEW)[0].decode().split("\n")
    result = next(line for line in lines if '"type":"result"' in line)
    [shown] = parse_stdout_line(result[-16_000:], TIMESTAMP)
    assert shown["text"] == "a piece of a broken line (16,000 characters)"
    assert parsed_by_javascript([result[-16_000:]])[0] == as_json([shown])


def test_torn_message_counts_as_content_whatever_the_order_of_its_fields() -> None:
    reader = StreamReader()
    reader.feed(b'{"message":{"role":"assistant","content":[{"type":"text","text":"Hel')
    transcript = reader.finish()
    assert (transcript.torn_event, transcript.has_content, transcript.plain_lines) == ("assistant", True, ())


@pytest.mark.parametrize("piece", ['{"a":', "{", '"', "\\", '{"message":{"role":', ",", "[]"])
def test_torn_line_of_megabytes_is_read_within_a_second(piece: str) -> None:
    began = time.process_time()
    torn_type(("{" + piece * 2_000_000)[:2_000_000])
    assert time.process_time() - began < 1
