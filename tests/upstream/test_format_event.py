"""The terminal shows the same facts as with the TypeScript adapter, in a different wording."""

import json
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

from paperclip_claude_k8s.replay import render

RATE_LIMIT = {"status": "allowed", "rateLimitType": "five_hour"}
USAGE = {"input_tokens": 100, "output_tokens": 200, "cache_read_input_tokens": 50}


def message(kind: str, **block: Any) -> dict[str, Any]:
    return {"type": kind, "message": {"content": [block]}}


def shown(event: dict[str, Any] | str) -> str:
    return render(event if isinstance(event, str) else json.dumps(event))


@pytest.mark.parametrize("text", ["hello world", "Error: disk full"])
def test_plain_line_is_shown_as_it_is(text: str) -> None:
    assert shown(text).split(maxsplit=1)[1].strip() == text


@pytest.mark.parametrize("blank", ["", "   "])
def test_blank_line_shows_nothing(blank: str) -> None:
    assert shown(blank) == ""


@pytest.mark.parametrize(
    ("event", "parts"),
    [
        (
            {"type": "system", "subtype": "init", "model": "claude-opus-4-7", "session_id": "sess_abc"},
            ["claude-opus-4-7", "sess_abc"],
        ),
        (message("assistant", type="text", text="Hello world"), ["Hello world"]),
        (message("assistant", type="thinking", thinking="Let me think..."), ["Let me think..."]),
        (message("assistant", type="tool_use", name="Bash", input={"command": "ls -la"}), ["Bash", "ls -la"]),
        (message("user", type="tool_result", tool_use_id="t", content="file1.txt"), ["file1.txt"]),
        (
            message("user", type="tool_result", tool_use_id="t", is_error=True, content="Permission denied"),
            ["Permission denied"],
        ),
        (
            {"type": "result", "subtype": "error_rate_limit", "is_error": True, "errors": ["rate limited"]},
            ["rate limited"],
        ),
        (
            {
                "type": "rate_limit_event",
                "rate_limit_info": {"status": "rejected", "rateLimitType": "five_hour"},
            },
            ["five", "hour"],
        ),
    ],
)
def test_event_shows_its_facts_and_no_json(event: dict[str, Any], parts: list[str]) -> None:
    text = shown(event)
    assert [part for part in parts if part not in text] == []
    assert "{" not in text
    assert_typescript_adapter_differs("the terminal shows `assistant: …`")


def test_result_shows_text_and_cost() -> None:
    text = shown(
        {"type": "result", "subtype": "success", "result": "Done", "total_cost_usd": 0.005, "usage": USAGE}
    )
    assert [part for part in ("Done", "0.005") if part not in text] == []


def test_answer_without_text_shows_no_text() -> None:
    assert "thinking" not in shown(message("assistant", type="thinking", thinking=""))


def test_rate_limit_of_unknown_kind_is_shown() -> None:
    assert "rate limit: status unknown" in shown({"type": "rate_limit_event", "rate_limit_info": {}})


def test_unknown_event_is_one_line_without_its_content() -> None:
    text = shown({"type": "unknown_event", "data": "stuff"})
    assert "unknown event" in text
    assert "stuff" not in text
    assert_typescript_adapter_differs("the terminal shows `assistant: …`")
