"""The parser returns the same values as the parser of the TypeScript adapter, or differs on purpose."""

import json
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs

from paperclip_claude_k8s import helpers

INIT = {"type": "system", "subtype": "init", "session_id": "sess_1", "model": "claude-opus-4-7"}
DONE = {
    "type": "result",
    "subtype": "stop",
    "result": "Done",
    "total_cost_usd": 0.005,
    "usage": {"input_tokens": 100, "output_tokens": 200, "cache_read_input_tokens": 50},
}
CALL = {"type": "tool_use", "id": "tool_1", "name": "Bash", "input": {"command": "ls"}}
LOGIN_URL = "https://auth.anthropic.com/login"


def assistant_event(*blocks: dict[str, Any], **message: Any) -> dict[str, Any]:
    return {"type": "assistant", "session_id": "sess_1", "message": {"content": list(blocks), **message}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def answer_event(*blocks: dict[str, Any], tokens: int, stop_reason: str | None = None) -> dict[str, Any]:
    """An answer with this number of output tokens and this stop reason."""
    usage = {"input_tokens": 1, "output_tokens": tokens}
    return assistant_event(*blocks, id="m1", stop_reason=stop_reason, usage=usage)


def parse(*lines: dict[str, Any] | str) -> Any:
    return helpers.parse_claude_stream_json(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )


@pytest.mark.parametrize("lines", [[""], ["hello world", "not json", ""]])
def test_output_without_events_has_no_facts(lines: list[str]) -> None:
    found = parse(*lines)
    assert (found.session_id, found.model, found.cost_usd, found.usage) == (None, "", None, None)
    assert (found.summary, found.result) == ("", None)


def test_session_and_model_come_from_init() -> None:
    found = parse(INIT)
    assert (found.session_id, found.model) == ("sess_1", "claude-opus-4-7")


@pytest.mark.parametrize(
    ("lines", "summary"),
    [
        ([assistant_event(text("Hello")), assistant_event(text(" world"))], "Hello\n\n world"),
        ([assistant_event({"type": "thinking", "thinking": "Let me think..."})], ""),
        ([assistant_event(CALL)], ""),
        ([assistant_event(text("Some output"))], "Some output"),
        (["some raw output", assistant_event(text("JSON output")), "more raw output"], "JSON output"),
    ],
)
def test_summary_consists_of_the_texts_if_there_is_no_result(lines: list[Any], summary: str) -> None:
    found = parse(*lines)
    assert found.summary == summary
    assert found.result is None


def test_result_has_cost_and_usage() -> None:
    found = parse(INIT, DONE)
    assert found.result["result"] == "Done"
    assert found.cost_usd == 0.005
    usage = found.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (100, 200, 50)


def test_result_without_a_finite_cost_has_no_cost() -> None:
    assert parse({"type": "result", "total_cost_usd": None, "result": "Done"}).cost_usd is None
    assert parse('{"type":"result","total_cost_usd":Infinity,"result":"Done"}').cost_usd is None


def test_text_that_a_replay_repeats_counts_once_if_its_event_has_an_id() -> None:
    event = {**assistant_event(text("Hello world")), "uuid": "u1"}
    assert parse(event, event).summary == "Hello world"


def test_equal_texts_of_events_without_ids_count_twice() -> None:
    event = assistant_event(text("Hello world"))
    assert parse(event, event).summary == "Hello world\n\nHello world"
    assert_typescript_adapter_differs("assistant events are told apart by message id")


@pytest.mark.parametrize(
    ("lines", "empty", "cut"),
    [
        ([INIT, answer_event(tokens=0)], True, False),
        ([assistant_event(stop_reason=None, output_tokens=0)], True, False),
        ([answer_event(text("hello"), tokens=5)], False, True),
        ([answer_event(tokens=0), DONE], False, False),
        ([INIT, answer_event(CALL, tokens=35)], False, True),
        ([answer_event(tokens=35), DONE], False, False),
        ([answer_event(tokens=0)], True, False),
        ([DONE], False, False),
    ],
)
def test_empty_reply_and_cut_output_are_recognised(lines: list[Any], *, empty: bool, cut: bool) -> None:
    found = parse(*lines)
    assert (found.empty_reply, found.cut_short) == (empty, cut)


def test_empty_reply_with_a_stop_reason_counts_as_empty() -> None:
    assert parse(answer_event(tokens=0, stop_reason="end_turn")).empty_reply
    assert_typescript_adapter_differs("an answer counts as empty if `stop_reason` is null")


def test_session_is_not_taken_from_a_result() -> None:
    assert parse({**DONE, "session_id": "sess_abc"}).session_id is None
    assert_typescript_adapter_differs("a session id is taken from any event")


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("not a url", None),
        (f"See https://example.com and {LOGIN_URL}", LOGIN_URL),
        (f"Visit {LOGIN_URL}! It is needed.", LOGIN_URL),
    ],
)
def test_login_address_is_found(words: str, url: str | None) -> None:
    assert helpers.extract_claude_login_url(words) == url


@pytest.mark.parametrize("words", ["Go to https://example.com/page", "Visit https://example.com only"])
def test_address_that_is_not_for_logging_in_is_not_returned(words: str) -> None:
    assert helpers.extract_claude_login_url(words) is None
    assert_typescript_adapter_differs("a relative URL or any address counts as a login URL")


@pytest.mark.parametrize(
    ("parsed", "stdout", "stderr", "required", "url"),
    [
        ({"result": "All good"}, "", "", False, None),
        ({"result": "Please log in to continue"}, "", "", True, None),
        ({}, f"Visit {LOGIN_URL} to login", "", False, LOGIN_URL),
        ({}, "", f"Error. See {LOGIN_URL}", False, LOGIN_URL),
        ({"errors": ["not logged in", "please log in"]}, "", "", True, None),
        ({"result": "please log in"}, f"Visit {LOGIN_URL}", "", True, LOGIN_URL),
        *(
            ({"result": words}, "", "", True, None)
            for words in (
                "not logged in",
                "please run `claude login`",
                "login required",
                "unauthorized",
                "authentication required",
            )
        ),
    ],
)
def test_required_login_and_its_address_are_detected(
    parsed: dict[str, Any], stdout: str, stderr: str, *, required: bool, url: str | None
) -> None:
    assert helpers.detect_claude_login_required(parsed, stdout, stderr) == (required, url)


def test_errors_of_other_programs_do_not_require_a_login() -> None:
    assert not helpers.detect_claude_login_required({"errors": ["[db] login required"]}).requires_login
    assert not helpers.detect_claude_login_required({}, "unauthorized").requires_login
    assert_typescript_adapter_differs('stdout is searched for "unauthorized" and similar words')


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({}, None),
        ({"result": "  "}, None),
        (
            {"subtype": "error_rate_limit", "result": "Too many requests"},
            "Claude run failed: subtype=error_rate_limit: Too many requests",
        ),
        ({"subtype": "", "result": "", "errors": ["it broke"]}, "Claude run failed: it broke"),
        ({"errors": [{"message": "it broke"}]}, "Claude run failed: it broke"),
    ],
)
def test_failure_is_described(result: dict[str, Any], words: str | None) -> None:
    assert helpers.describe_claude_failure(result) == words


def test_subtype_success_is_left_out_of_the_description() -> None:
    result = {"subtype": "success", "result": "Overloaded"}
    assert helpers.describe_claude_failure(result) == "Claude run failed: Overloaded"
    assert_typescript_adapter_differs("`isK8s404`, `describeClaudeFailure`")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, False),
        ({"subtype": "error_max_turns"}, True),
        ({"stop_reason": "max_turns"}, True),
        ({"result": "result is ready"}, False),
    ],
)
def test_max_turns_are_recognised(result: dict[str, Any] | None, *, expected: bool) -> None:
    assert helpers.is_claude_max_turns_result(result) is expected


@pytest.mark.parametrize(
    "result",
    [
        {"result": "Reached maximum turns"},
        {"result": "Maximum turns exceeded"},
        {"result": "MAXIMUM TURNS"},
        {"subtype": "Error_Max_Turns"},
    ],
)
def test_max_turns_are_not_recognised_by_text_or_by_another_spelling(result: dict[str, Any]) -> None:
    assert not helpers.is_claude_max_turns_result(result)
    assert_typescript_adapter_differs("the text of a result decides whether its turns ran out")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"result": "no conversation found with session id abc"}, True),
        ({"result": "unknown session: sess_123"}, True),
        ({"result": "session sess_xyz not found"}, True),
        ({"result": "something went wrong"}, False),
        ({"errors": ["session abc not found"]}, True),
    ],
)
def test_unknown_session_is_recognised(result: dict[str, Any], *, expected: bool) -> None:
    assert helpers.is_claude_unknown_session_error(result) is expected
