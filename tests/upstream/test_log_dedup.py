"""The filter of repeated events passes the same lines as in the TypeScript adapter, or differs on purpose."""

import json
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

from paperclip_claude_k8s.helpers import LogLineDedupFilter


def line(event: dict[str, Any]) -> str:
    return f"{json.dumps(event)}\n"


def answer(message_id: str, words: str) -> str:
    content = [{"type": "text", "text": words}]
    return line({"type": "assistant", "session_id": "s", "message": {"id": message_id, "content": content}})


INIT = line({"type": "system", "subtype": "init", "session_id": "s", "model": "claude-opus-4-7"})
RESULT = line({"type": "result", "subtype": "success", "session_id": "s", "result": "done"})
TOOL_RESULT = line(
    {
        "type": "user",
        "message": {"content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]},
    }
)
STATUS = "[paperclip] keepalive — job foo running\n"


@pytest.mark.parametrize(
    ("chunks", "passed"),
    [
        ([answer("m1", "hello") + answer("m2", "world")], [answer("m1", "hello") + answer("m2", "world")]),
        ([answer("m1", "a")] * 2, [answer("m1", "a"), ""]),
        ([TOOL_RESULT] * 2, [TOOL_RESULT, ""]),
        ([INIT + RESULT] * 2, [INIT + RESULT, ""]),
        ([answer("m1", "a")[:20], answer("m1", "a")[20:]], ["", answer("m1", "a")]),
        ([STATUS] * 2, [STATUS] * 2),
        (
            [answer("a", "a") + answer("b", "b") + answer("c", "c")[:-1], "\n"],
            [answer("a", "a") + answer("b", "b"), answer("c", "c")],
        ),
        (
            [answer("a", "a") + answer("b", "b")] * 2 + [answer("c", "c")],
            [answer("a", "a") + answer("b", "b"), "", answer("c", "c")],
        ),
    ],
)
def test_event_passes_once(chunks: list[str], passed: list[str]) -> None:
    dedup = LogLineDedupFilter()
    assert [dedup.filter(chunk) for chunk in chunks] == passed


def test_last_line_without_newline_passes_if_it_is_new() -> None:
    dedup = LogLineDedupFilter()
    assert dedup.filter(answer("m1", "a")[:-1]) == ""
    assert dedup.flush() == answer("m1", "a")[:-1]
    dedup.filter(answer("m1", "a")[:-1])
    assert dedup.flush() == ""


def test_repeated_json_that_is_no_event_passes_every_time() -> None:
    dedup, other = LogLineDedupFilter(), line({"foo": "bar", "baz": 1})
    assert [dedup.filter(other), dedup.filter(other)] == [other, other]
    assert_typescript_adapter_differs("JSON that is no event passes the filter of repeated lines once")


def test_two_events_with_one_message_id_both_pass() -> None:
    dedup = LogLineDedupFilter()
    assert dedup.filter(answer("m1", "one") + answer("m1", "two")).count("\n") == 2
    assert_typescript_adapter_differs("assistant events are told apart by message id")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_of_bytes_pass_like_text_wherever_they_are_cut(size: int) -> None:
    words = json.dumps({"type": "assistant", "uuid": "u1", "text": "Grüße 🙂"}, ensure_ascii=False)
    log = f"{words}\nnö\n{words}\n→".encode()
    dedup = LogLineDedupFilter()
    passed = "".join(dedup.filter(log[at : at + size]) for at in range(0, len(log), size))
    assert passed + dedup.flush() == f"{words}\nnö\n→"


def test_character_that_is_cut_at_the_end_of_the_log_is_replaced() -> None:
    dedup = LogLineDedupFilter()
    assert dedup.filter("é".encode()[:1]) == ""
    assert dedup.flush() == "\ufffd"
