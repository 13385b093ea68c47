"""Any output, such as damaged recordings, raises no exception and has a result that can be stored.

A run is a success only if the output, or the relay, reported one.
"""

import json
import random
from functools import cache
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.any_json import ODD_JSON
from tests.support.captures import ALL, recorded
from tests.support.fuzzing import FUZZ
from tests.support.judged_output import (
    ADAPTER_FIELDS,
    assert_fields_known,
    assert_storable,
    transcript_of,
    wire_of,
)

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.strict_json import strict_json
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.claude.dedup import LogLineDedupFilter
from paperclip_claude_k8s.claude.event_lines import events_on
from paperclip_claude_k8s.claude.rendering.cell_width import cell_width
from paperclip_claude_k8s.claude.rendering.item_reader import ItemReader
from paperclip_claude_k8s.claude.rendering.terminal_lines import Screen, terminal_lines
from paperclip_claude_k8s.claude.result_fields import KNOWN_FIELDS
from paperclip_claude_k8s.claude.results import is_success
from paperclip_claude_k8s.relay import read_summary

NONCE = "0badc0de"
TYPES = [
    ("system", "init"),
    ("system", "api_retry"),
    ("system", "compact_boundary"),
    ("system", "model_fallback"),
    ("system", "model_refusal_fallback"),
    ("system", "task_started"),
    ("system", "task_updated"),
    ("system", "task_notification"),
    ("system", "background_tasks_changed"),
    ("system", "informational"),
    ("system", "session_writes_lost"),
    ("assistant", None),
    ("user", None),
    ("result", "success"),
    ("result", "error_during_execution"),
    ("rate_limit_event", None),
    ("stream_event", None),
]
FIELDS = [
    *KNOWN_FIELDS,
    *ADAPTER_FIELDS,
    *("message", "parent_tool_use_id", "error", "supersedes", "retracted_message_uuids", "original_model"),
    *("task_id", "tool_use_id", "patch", "tasks", "rate_limit_info", "model", "apiKeySource", "request_id"),
    *("api_error_params", "mcp_servers", "prevent_continuation", "prompt_submit_outcome", "content", "lost"),
    *("attempt", "max_retries", "error_status", "description", "status", "is_backgrounded", "resetsAt"),
    *("executionRecovery", "stopReason", "finalResponse", "retryNotBefore", "errorFamily", "ambient"),
]
ODD_NUMBERS = st.sampled_from([10**400, -(10**400), -1, 2**63, 1e308, 10**12, 10**15, True, 0, -0.0])
ODD_TEXTS = st.sampled_from(
    [
        "\0",
        "\ud800",
        "\x1b]0;x\x07",
        "x" * 5000,
        "--resume",
        "https://evil.example/login",
        "\u202e",
        "",
        "null",
    ]
) | st.text(max_size=20)
INNER = st.fixed_dictionaries(
    {},
    optional={
        "id": ODD_TEXTS,
        "model": ODD_TEXTS,
        "content": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["text", "tool_use", "tool_result", "thinking"])},
                optional={"text": ODD_TEXTS, "name": ODD_TEXTS, "input": ODD_JSON, "tool_use_id": ODD_TEXTS},
            ),
            max_size=3,
        ),
        "usage": st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), ODD_NUMBERS | ODD_JSON),
        "stop_reason": ODD_TEXTS,
        "inputTokens": ODD_NUMBERS,
        "costUSD": ODD_NUMBERS,
        "status": ODD_TEXTS,
        "resetsAt": ODD_NUMBERS | st.floats(),
        "rateLimitType": ODD_TEXTS,
        "cut": ODD_TEXTS,
        "reason": ODD_TEXTS,
    },
)
VALUES = ODD_NUMBERS | ODD_TEXTS | INNER | ODD_JSON | st.dictionaries(ODD_TEXTS, INNER, max_size=3)


@st.composite
def made_up_lines(draw: st.DrawFn) -> bytes:
    """An event with odd values, in fields that the adapter reads and in others."""
    kind, subtype = draw(st.sampled_from(TYPES))
    event: dict[str, Any] = {"type": kind} | ({} if subtype is None else {"subtype": subtype})
    event |= draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
    if draw(st.booleans()):
        event |= {"uuid": draw(st.sampled_from("uvw")), "session_id": "s"}
    event["type"] = draw(st.sampled_from([kind] * 9 + [None]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    return json.dumps(event, separators=separators).encode("utf-8", "surrogatepass")


@cache
def recorded_lines() -> list[bytes]:
    """Short lines of the recordings."""
    found = {line for folder, name in ALL for line in recorded(name, folder)[0].split(b"\n")}
    return sorted(line for line in found if 0 < len(line) < 5000)


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """A recorded line, some bytes of which are changed, removed or repeated."""
    line = bytearray(draw(st.sampled_from(recorded_lines())))
    chance = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311  # reproducible damage
    for _ in range(draw(st.integers(0, 4))):
        at = chance.randrange(len(line) + 1)
        match chance.randrange(6):
            case 0:
                del line[at : at + chance.randrange(1, 40)]
            case 1:
                line[at:at] = chance.choice(
                    [b"\0", b"\xff", b"\x1e" + NONCE.encode() + b" n", b"{", b'"', b"\\"]
                )
            case 2:
                line[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                line[at:at] = line[at : at + 200]
            case 4:
                del line[at:]
            case _:
                number = chance.choice([b"1e999", b"-5", b"9" * 400, b"[" * 300, b"null"])
                line[at : at + 1] = number
    return bytes(line)


LINES = made_up_lines() | damaged_lines() | st.binary(max_size=80) | st.sampled_from(recorded_lines())
OUTPUTS = st.lists(LINES, max_size=6).map(b"\n".join)
SUMMARIES = st.none() | st.fixed_dictionaries(
    {"relay": st.just(NONCE)},
    optional={
        **{key: st.integers(-5, 5000) | ODD_NUMBERS for key in ("bytes", "lines", "exit", "copied", "cost")},
        **{
            key: ODD_TEXTS | st.sampled_from(["s", "success", "result", "answer", "init"])
            for key in ("session", "subtype", "last", "copy_trouble", "sha256")
        },
        "is_error": st.booleans() | st.none() | ODD_TEXTS,
        "limit": st.booleans(),
    },
)


def reports_success(output: bytes) -> bool:
    """Whether any event of the output is a successful result."""
    events = (event for line in output.split(b"\n") for event, _ in events_on(line))
    return any(event["type"] == "result" and is_success(event) for event in events)


@FUZZ
@given(OUTPUTS, st.binary(max_size=60) | damaged_lines(), SUMMARIES)
@example(b'{"type":"result","total_cost_usd":1' + b"0" * 400 + b"}", b"", None)
@example(b'{"type":"result","a":' + b"[" * 1000 + b"]" * 1000 + b"}", b"", None)
def test_result_of_any_output_can_be_stored(
    output: bytes, stderr: bytes, summary: dict[str, Any] | None
) -> None:
    relay = None if summary is None else read_summary(json.dumps(summary), NONCE)
    wire = wire_of(output, stderr, relay)
    assert_storable(wire)
    assert_fields_known(wire)
    strict_json(wire)
    relay_reports_success = relay is not None and relay.is_error is False
    assert "errorCode" in wire or reports_success(output) or relay_reports_success
    assert len(orjson.dumps(wire)) < LIMITS.result_json_bytes + 300_000  # for the other fields
    assert wire.get("costUsd") is None or 0 <= wire["costUsd"] <= LIMITS.cost_usd
    assert all(0 <= count <= LIMITS.tokens for count in (wire.get("usage") or {}).values())
    assert len(wire.get("sessionId") or "") <= LIMITS.id_chars
    assert len(wire.get("model") or "") <= LIMITS.name_chars


@FUZZ
@given(OUTPUTS, st.lists(st.integers(0, 400), max_size=8))
def test_transcript_does_not_depend_on_where_the_output_is_divided(output: bytes, cuts: list[int]) -> None:
    reader, start = StreamReader(), 0
    for cut in sorted(cuts):
        reader.feed(output[start:cut])
        start = max(start, cut)
    reader.feed(output[start:])
    assert reader.finish() == transcript_of(output)


@FUZZ
@given(st.lists(LINES, max_size=6))
def test_any_line_can_be_shown_and_filtered(lines: list[bytes]) -> None:
    repeats, reader = LogLineDedupFilter(), ItemReader()
    for line in lines:
        text = line.decode("utf-8", "replace")
        for item in reader.read(text):
            for shown in terminal_lines(item, Screen(80)):
                assert cell_width(shown) <= 80
                shown.encode("utf-8")
        repeats.filter(f"{text}\n")
    repeats.flush()
