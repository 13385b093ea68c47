"""Message, code and retry time of failed runs: crashes, torn lines, API retries, limits, refused sessions."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.failed_runs import NOW, failed_run, failure_of, read

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.claude.classification import FailureClass, classify
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

Event = dict[str, Any]
FIRST_RESET, LAST_RESET = 1_893_456_000, 1_893_900_000
"""2030-01-01, and five days later, in seconds since 1970."""
INIT: Event = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}
DEPRECATED = "(node:7) [DEP0040] DeprecationWarning: The `punycode` module is deprecated."
TORN_RESULTS = [
    '{"type":"result","subtype":"success","is_err',
    '{"duration_api_ms":127,"stop_reason":"end_tu',
    '{"is_error":false,"duration_api_ms":0,"num_',
]


def answer(stop_reason: str | None = None, **fields: Any) -> Event:
    message = {
        "id": "m1",
        "model": "m",
        "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": stop_reason,
    }
    return {"type": "assistant", "parent_tool_use_id": None, "message": message, **fields}


def failure_at_exit(transcript: Transcript, exit_code: int, reason: str = "Error") -> Failure:
    end = Exited(Terminated(exit_code, reason))
    failure = classify_end(
        Observation(end, transcript, None, None, RunFacts("job", "ns")), OutcomeInputs(NOW)
    )
    assert failure is not None
    return failure


@pytest.mark.parametrize(
    ("code", "name"), [(132, "SIGILL"), (134, "SIGABRT"), (135, "SIGBUS"), (136, "SIGFPE"), (139, "SIGSEGV")]
)
def test_exit_code_of_a_crash_is_named_as_its_signal(code: int, name: str) -> None:
    crash = "panic(main thread): Illegal instruction at address 0x4F2"
    for transcript in (
        read(),
        read(INIT),
        read(INIT, answer()),
        read(INIT, DEPRECATED, crash),
        read(stderr=crash),
    ):
        message = failure_at_exit(transcript, code).message
        assert name in message
        assert "may be unsupported" not in message
        assert "OOMKilled" not in message
    assert crash in failure_at_exit(read(INIT, DEPRECATED, "starting", crash, "Bun v1.3"), code).message
    assert crash in failure_at_exit(read(INIT, answer(), stderr=f"x\n{crash}\ny"), code).message


def test_noise_is_not_quoted_as_the_cause() -> None:
    noise = [DEPRECATED, "(Use `node --trace-deprecation ...` to show where)", '[claude-code:x] {"a":1}']
    assert ": Error: no key" in failure_at_exit(read(*noise, "Error: no key"), 1).message
    assert ": Error: no key" in failure_at_exit(read(stderr="\n".join([*noise, "Error: no key"])), 1).message
    assert "punycode" not in failure_at_exit(read(INIT, *noise), 1).message


@pytest.mark.parametrize("torn_result", TORN_RESULTS)
@pytest.mark.parametrize("events", [[INIT], [INIT, answer()]], ids=["init", "answer"])
def test_torn_result_is_named_whatever_its_first_key_is(torn_result: str, events: list[Event]) -> None:
    failure = failure_at_exit(read(*events, torn_result), 0)
    assert failure.code == "claude_truncated"
    assert "the result event was cut off" in failure.message


def test_torn_line_is_named_with_the_type_of_its_event() -> None:
    message = failure_at_exit(read(INIT, answer(), '{"type":"user","message":{"role":"us'), 137).message
    assert "the last line is the beginning of an event of type user" in message


def test_run_without_a_result_is_truncated_unless_its_answer_is_complete_and_it_exits_with_0() -> None:
    failure = failure_at_exit(read(INIT, answer("end_turn")), 0)
    assert failure.code == "claude_no_result"
    assert "mid-stream" not in failure.message
    assert failure_at_exit(read(INIT, answer("end_turn")), 137).code == "claude_truncated"
    assert failure_at_exit(read(INIT, answer()), 0).code == "claude_truncated"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"attempt": 4, "max_retries": 10, "error_status": 529, "error": "overloaded"},
            "status 529 (overloaded)",
        ),
        (
            {"attempt": 2, "max_retries": 10, "error_status": 403, "error": "authentication_failed"},
            "status 403",
        ),
        (
            {"attempt": 1, "max_retries": 10, "error_status": None, "error": "unknown"},
            "no answer from the API",
        ),
    ],
)
@pytest.mark.parametrize("events", [[INIT], [INIT, answer()]], ids=["init", "answer"])
def test_api_retries_before_a_kill_are_named(events: list[Event], fields: Event, text: str) -> None:
    retry = {"type": "system", "subtype": "api_retry", **fields}
    message = failure_at_exit(read(*events, retry), 137).message
    assert f"attempt {fields['attempt']} of 10" in message
    assert text in message
    assert "retrying" not in failure_at_exit(read(*events, retry, answer()), 137).message


def test_empty_reply_names_its_stop_reason() -> None:
    assert (
        "(stop_reason: end_turn)"
        in failure_of(failed_run("No text", api_error="empty_completion", stop_reason="end_turn")).message
    )


def test_message_of_a_failure_does_not_quote_the_subtype_success() -> None:
    for text in ("odd", "API Error: 500 x", "Credit balance is too low"):
        assert "success" not in failure_of(failed_run(text)).message


def window(kind: str, status: str, resets: int | None) -> Event:
    info = {"rateLimitType": kind, "status": status, "resetsAt": resets}
    return {"type": "rate_limit_event", "rate_limit_info": info}


@pytest.mark.parametrize(
    ("events", "resets"),
    [
        (
            [window("five_hour", "rejected", FIRST_RESET), window("seven_day", "allowed", LAST_RESET)],
            FIRST_RESET,
        ),
        (
            [window("five_hour", "rejected", FIRST_RESET), window("seven_day", "rejected", LAST_RESET)],
            LAST_RESET,
        ),
        (
            [window("seven_day", "rejected", LAST_RESET), window("five_hour", "rejected", FIRST_RESET)],
            LAST_RESET,
        ),
        (
            [window("seven_day", "rejected", LAST_RESET), window("seven_day", "allowed", LAST_RESET)],
            None,
        ),
        ([window("seven_day", "rejected", None)], None),
    ],
)
def test_retry_time_is_the_reset_of_the_rejected_window_that_resets_last(
    events: list[Event], resets: int | None
) -> None:
    error = answer(error="rate_limit")
    result = {
        "type": "result",
        "subtype": "success",
        "is_error": True,
        "result": "odd",
        "api_error_status": 429,
    }
    classified = classify(read(INIT, *events, error, result), NOW, recorded=True)
    expected = datetime.fromtimestamp(resets, UTC) if resets else None
    assert classified.retry_at == expected
    assert classified.failure_class is (FailureClass.QUOTA if resets else FailureClass.TRANSIENT)


def test_limit_in_the_error_parameters_sets_the_retry_time() -> None:
    limit = {"rate_limit_info": {"status": "rejected", "resetsAt": FIRST_RESET}}
    error = answer(error="rate_limit", api_error="usage_limit_reached", api_error_params=limit)
    text = "You've hit your weekly limit · resets 11:06am (UTC)"
    result = {"type": "result", "subtype": "success", "is_error": True, "result": text}
    assert classify(read(INIT, error, result), NOW, recorded=True).retry_at == datetime(
        2030, 1, 1, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("error_params", "failure_class"),
    [
        ({"cut": "context_window"}, FailureClass.CONTEXT_WINDOW),
        ({"cut": "output_limit"}, FailureClass.MAX_OUTPUT),
    ],
)
def test_full_context_window_is_distinguished_from_an_answer_that_is_too_long(
    error_params: Event, failure_class: FailureClass
) -> None:
    error = answer(error="max_output_tokens", api_error="max_output_tokens", api_error_params=error_params)
    result = {"type": "result", "subtype": "success", "is_error": True, "result": "odd"}
    assert classify(read(INIT, error, result), NOW).failure_class is failure_class


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        (
            "API Error: Usage credits required for 1M context · run /x",
            "rate_limit",
            "claude_credit_exhausted",
        ),
        (
            "API Error: Unable to connect to API: Self-signed certificate detected",
            "server_error",
            "claude_failed",
        ),
        ("API Error: Unable to connect to API (SELF_SIGNED_CERT_IN_CHAIN)", "unknown", "claude_failed"),
        ("API Error: 403 Forbidden", None, "claude_failed"),
        (
            "API Error: 403 The security token included in the request is expired",
            None,
            "claude_auth_required",
        ),
        ("API Error: 400 This organization has been disabled.", "invalid_request", "claude_auth_required"),
        ("Failed to authenticate. API Error: 403 x", "authentication_failed", "claude_auth_required"),
        ("This service is disabled for your org", "rate_limit", "claude_auth_required"),
        (
            "API Error: Server is temporarily limiting requests (not your usage limit) · x",
            "rate_limit",
            "claude_transient_upstream",
        ),
        ("There's an issue with the selected model (x).", "invalid_request", "model_not_found"),
    ],
)
def test_text_of_an_error_decides_its_code_where_the_error_field_is_not_specific(
    text: str, error: str | None, code: str
) -> None:
    events = [answer(error=error)] if error else []
    result = {"type": "result", "subtype": "success", "is_error": True, "result": text}
    failure = failure_of(read(INIT, *events, result))
    assert failure.code == code
    if "certificate" in text or "CERT" in text:
        assert "NODE_EXTRA_CA_CERTS" in failure.message
        assert failure.family is None


def test_error_of_a_sub_agent_and_error_before_another_answer_do_not_classify_the_run() -> None:
    sub_agent = answer(error="rate_limit") | {"parent_tool_use_id": "toolu_1"}
    result = {"type": "result", "subtype": "success", "is_error": True, "result": "odd"}
    assert failure_of(read(INIT, sub_agent, answer(), result)).code == "claude_failed"
    assert failure_of(read(INIT, answer(error="rate_limit"), answer(), result)).code == "claude_failed"


@pytest.mark.parametrize("resumed", [True, False, None])
def test_session_refused_by_the_usage_policy_is_cleared(resumed: bool | None) -> None:  # noqa: FBT001
    text = "API Error: Claude Code is unable to respond to this request, which appears to violate our Policy"
    assert failure_of(failed_run(text), resumed=resumed).clear_session
    assert failure_of(failed_run("x", stop_reason="refusal"), resumed=resumed).clear_session
    blocked = failed_run("API Error: 400 Output blocked by content filtering policy", api_error_status=400)
    assert failure_of(blocked, resumed=resumed).code == "claude_refusal"
    assert not failure_of(blocked, resumed=resumed).clear_session


def test_session_id_of_a_run_whose_session_was_not_found_is_not_kept() -> None:
    error = {"type": "result", "subtype": "error_during_execution", "is_error": True, "session_id": "new"}
    transcript = read(
        INIT | {"session_id": "new"}, error | {"errors": ["No conversation found with session ID: old"]}
    )
    failure = failure_of(transcript, resumed=True)
    observation = Observation(Exited(Terminated(1)), transcript, None, None, RunFacts("job", "ns"))
    wire = build_result(failure, observation, ResultInputs(NOW)).to_wire()
    assert wire["errorCode"] == "session_unavailable"
    assert wire["clearSession"] is True
    assert "sessionId" not in wire


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("You've hit your limit · resets Jan 2, 2027, 3am (UTC)", datetime(2027, 1, 2, 3, tzinfo=UTC)),
        ("Weekly limit resets Oct 7 at 1:30pm ∙ contact an admin", datetime(2025, 10, 7, 13, 30, tzinfo=UTC)),
        (
            "You've hit your limit · resets Nov 30, 1:31am (Asia/Tokyo)",
            datetime(2025, 11, 29, 16, 31, tzinfo=UTC),
        ),
        ("Claude AI usage limit reached|1893456000000", datetime(2030, 1, 1, tzinfo=UTC)),
        ("Claude AI usage limit reached|0", None),
        ("Limit reached · resets 25pm", None),
        ("You've hit your limit · resets 3pm (Nowhere/Land)", None),
    ],
)
def test_reset_time_of_every_form_is_read(text: str, moment: datetime | None) -> None:
    classified = classify(failed_run(text), NOW, recorded=True)
    assert (classified.failure_class, classified.retry_at) == (FailureClass.QUOTA, moment)
