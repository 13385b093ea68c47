"""Known error texts of the Claude CLI: the class of the failure, and the error that the host gets."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.failed_runs import INIT, NOW, api_error, failed_run, failure_of, read

from paperclip_claude_k8s.claude import Transcript
from paperclip_claude_k8s.claude.classification import FailureClass, classify

IMAGE_ERRORS = [
    "Could not process image",
    "messages.5.content.1.image.source.base64: image exceeds 5 MB maximum: 7465044 bytes > 5242880 bytes",
    (
        "messages.3.content.50.image.source.base64.data: At least one of the image dimensions exceed max "
        "size: 8000 pixels"
    ),
    (
        "messages.21.content.91.image.source.base64.data: At least one of the image dimensions exceed max "
        "size for many-image requests: 2000 pixels"
    ),
    "messages.1.content.0.image.source.base64: image cannot be empty",
    "Too much media: 0 document pages + 101 images > 100",
    "Image does not match the provided media type image/png",
    (
        "messages.1.content.0.image.source.base64.data: The image was specified using the image/jpeg media "
        "type, but the image appears to be a image/png image"
    ),
    "The PDF specified was not valid.",
]
BLOCK_ERRORS = [
    (
        "messages.21: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    ),
    (
        "messages.12.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_01. Each "
        "`tool_result` block must have a corresponding `tool_use` block in the previous message."
    ),
    (
        "messages.3.content.101: `thinking` or `redacted_thinking` blocks in the latest assistant message "
        "cannot be modified. These blocks must remain as they were in the original response."
    ),
    (
        "messages.7.content.34: thinking or redacted_thinking blocks in the latest assistant message "
        "cannot be modified. These blocks must remain as they were in the original response."
    ),
    (
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When "
        "is enabled, a final `assistant` message must start with a thinking block."
    ),
    "messages.5.content.0: Invalid `signature` in `thinking` block",
    "messages.19: The final block in an assistant message cannot be `thinking`.",
    "previous_message_id is not valid",
    "The request body is not valid JSON: no low surrogate in string: line 1 column 4711 (char 4710)",
]
CLI_TEXTS = [
    "Image was too large. Double press esc to go back and try again with a smaller image.",
    (
        "An image in the conversation exceeds the dimension limit for many-image requests (2000px). Start a "
        "new session with fewer images."
    ),
    "API Error: 400 due to tool use concurrency issues. Run /rewind to recover the conversation.",
]
POISONED = [
    *CLI_TEXTS,
    *(api_error(text) for text in IMAGE_ERRORS + BLOCK_ERRORS),
    *(f"API Error: 400 {text}" for text in IMAGE_ERRORS + BLOCK_ERRORS),
]
"""Error texts after which the API would reject every run that resumes the session."""


@pytest.mark.parametrize("text", POISONED)
@pytest.mark.parametrize("resumed", [True, False, None])
def test_session_that_the_api_would_reject_again_is_cleared(text: str, resumed: bool | None) -> None:  # noqa: FBT001
    failure = failure_of(failed_run(text, api_error_status=400), resumed=resumed)
    assert failure.code == "claude_poisoned_previous_message_id"
    assert failure.clear_session
    assert failure_of(failed_run(text)).clear_session


@pytest.mark.parametrize("text", POISONED)
def test_quoted_error_text_does_not_clear_the_session(text: str) -> None:
    message = {"id": "m1", "model": "m", "content": [{"type": "text", "text": text}]}
    message_event = {"type": "assistant", "parent_tool_use_id": None, "message": message}
    tool = {"type": "user", "message": {"content": [{"type": "tool_result", "content": text}]}}
    transcript = read(INIT, message_event, tool, text, stderr=f"mcp-server: {text}\n{text}\n")
    assert not failure_of(transcript, resumed=True).clear_session
    transcript = read(
        INIT, message_event, tool, {"type": "result", "subtype": "success", "is_error": True, "result": "odd"}
    )
    assert failure_of(transcript, resumed=True).code == "claude_failed"


@pytest.mark.parametrize(
    "result",
    [
        {"result": "Prompt is too long", "terminal_reason": "prompt_too_long"},
        {"result": "Prompt is too long"},
        {"result": api_error("prompt is too long: 208310 tokens > 200000 maximum")},
        {"result": api_error("input length and `max_tokens` exceed context limit: 197202 + 21333 > 200000")},
        {"result": "Request too large (max 32MB). Try with a smaller file.", "api_error_status": 413},
        {"result": api_error("Request exceeds the maximum size", 413, "request_too_large")},
    ],
)
def test_too_long_prompt_clears_only_a_resumed_session(result: dict[str, Any]) -> None:
    transcript = failed_run(**{"text": "", **result})
    for resumed in (True, False, None):
        failure = failure_of(transcript, resumed=resumed)
        assert failure.code == "claude_prompt_too_long"
        assert failure.clear_session is (resumed is True)


REFUSED_SESSION = [
    "No conversation found with session ID: 0f0e0d0c-1111-4222-8333-444455556666",
    "Error: No conversation found with session ID: 0f0e0d0c-1111-4222-8333-444455556666",
    "Unknown session: 0f0e0d0c",
    "Session 0f0e0d0c not found",
    "Error: Session ID 0f0e0d0c is already in use.",
    "Error: --resume requires a valid session ID or session title when used with --print.",
]


@pytest.mark.parametrize("text", REFUSED_SESSION)
def test_refusal_of_a_session_is_found_on_stdout_on_stderr_and_in_errors(text: str) -> None:
    error = {
        "type": "result",
        "subtype": "error_during_execution",
        "is_error": True,
        "errors": [{"message": text}],
    }
    debug_line = "[debug] starting"
    for transcript in (
        read(debug_line, f"\x1b[31m{text}\x1b[0m"),
        read(stderr=f"{debug_line}\n{text}\n"),
        read(error),
    ):
        failure = failure_of(transcript)
        assert failure.code == "session_unavailable"
        assert failure.clear_session
        assert text in failure.message


@pytest.mark.parametrize("text", REFUSED_SESSION)
def test_refusal_text_after_the_first_message_or_inside_a_line_is_ignored(text: str) -> None:
    message = {"id": "m1", "model": "m", "content": [{"type": "text", "text": "Hello"}]}
    message_event = {"type": "assistant", "parent_tool_use_id": None, "message": message}
    assert failure_of(read(INIT, message_event, text, stderr=text)).code == "claude_truncated"
    assert failure_of(read(INIT, stderr=f"mcp-server: {text}")).code != "session_unavailable"


TEXTS: list[tuple[str, FailureClass]] = [
    ("Claude AI usage limit reached|1893456000", FailureClass.QUOTA),
    ("5-hour limit reached ∙ resets 8pm", FailureClass.QUOTA),
    ("Weekly limit reached ∙ resets Oct 7 at 1pm", FailureClass.QUOTA),
    ("Opus weekly limit reached ∙ resets Oct 6, 10am", FailureClass.QUOTA),
    ("You've hit your individual spend limit · ask your admin", FailureClass.QUOTA),
    (api_error("Internal server error", 500, "api_error"), FailureClass.TRANSIENT),
    (api_error("Overloaded", 529, "overloaded_error"), FailureClass.TRANSIENT),
    (api_error("slow down", 429, "rate_limit_error"), FailureClass.TRANSIENT),
    ("API Error: 503 no healthy upstream", FailureClass.TRANSIENT),
    ("API Error: Repeated 529 Overloaded errors. The API is at capacity", FailureClass.TRANSIENT),
    ("API Error: Connection error.", FailureClass.TRANSIENT),
    ("API Error: Connection refused — a firewall or proxy may be blocking it", FailureClass.TRANSIENT),
    (
        "API Error: Can't reach the API server — check your internet or DNS (ENOTFOUND)",
        FailureClass.TRANSIENT,
    ),
    ("API Error: Unable to connect to API (ECONNRESET)", FailureClass.TRANSIENT),
    ("API Error: Stream idle timeout - no chunks received", FailureClass.TRANSIENT),
    ("API Error: Server error mid-response. The response above may be incomplete.", FailureClass.TRANSIENT),
    ("API Error: Request timed out.", FailureClass.TRANSIENT),
    ("Request timed out", FailureClass.TRANSIENT),
    (
        "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited",
        FailureClass.THROTTLED,
    ),
    (api_error("invalid x-api-key", 401, "authentication_error"), FailureClass.AUTH_REQUIRED),
    ("Invalid API key · Please run /login", FailureClass.AUTH_REQUIRED),
    ("Login expired · Please run /login", FailureClass.AUTH_REQUIRED),
    ("OAuth token has expired", FailureClass.AUTH_REQUIRED),
    ("Failed to authenticate: OAuth session expired and could not be refreshed", FailureClass.AUTH_REQUIRED),
    ("Your account does not have access to Claude. Please login again", FailureClass.AUTH_REQUIRED),
    ("API Error: 400 This organization has been disabled.", FailureClass.AUTH_REQUIRED),
    ("Credit balance is too low", FailureClass.CREDIT_EXHAUSTED),
    (api_error("Your credit balance is too low to access the Anthropic API."), FailureClass.CREDIT_EXHAUSTED),
    ("Usage credits required for 1M context · turn it off", FailureClass.CREDIT_EXHAUSTED),
    (api_error("model: claude-nope", 404, "not_found_error"), FailureClass.MODEL_NOT_FOUND),
    ("There's an issue with the selected model (x). It may not exist", FailureClass.MODEL_NOT_FOUND),
    ("API Error: The model has reached its context window limit.", FailureClass.CONTEXT_WINDOW),
    (
        "API Error: Claude Code is unable to respond to this request, which appears to violate our Policy",
        FailureClass.REFUSAL,
    ),
    ("Context limit reached · /compact or /clear to continue", FailureClass.PROMPT_TOO_LONG),
    (api_error("messages.0.content: field required"), FailureClass.OTHER),
    ("The limit reached by the tests is 5", FailureClass.OTHER),
]


@pytest.mark.parametrize(("text", "failure_class"), TEXTS)
def test_failure_is_classified_by_its_text(text: str, failure_class: FailureClass) -> None:
    assert classify(failed_run(text), NOW).failure_class is failure_class


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Claude AI usage limit reached|1893456000", datetime(2030, 1, 1, tzinfo=UTC)),
        ("5-hour limit reached ∙ resets 8pm", datetime(2025, 10, 1, 20, tzinfo=UTC)),
        ("Weekly limit reached ∙ resets Oct 7 at 1pm", datetime(2025, 10, 7, 13, tzinfo=UTC)),
        ("Opus weekly limit reached ∙ resets Oct 6, 10am", datetime(2025, 10, 6, 10, tzinfo=UTC)),
        ("You've hit your 5-hour limit · resets 11am (Europe/Zurich)", datetime(2025, 10, 2, 9, tzinfo=UTC)),
        ("Weekly limit reached ∙ resets soon", None),
    ],
)
def test_reset_time_is_parsed(text: str, moment: datetime | None) -> None:
    # `recorded=True` accepts a reset time that is far from `NOW`
    assert classify(failed_run(text), NOW, recorded=True).retry_at == moment


def test_throttling_is_not_classified_as_a_quota() -> None:
    text = "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited"
    event = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "isUsingOverage": False}}
    message_event = {"type": "assistant", "error": "rate_limit", "message": {"content": []}}
    result = {
        "type": "result",
        "subtype": "success",
        "is_error": True,
        "result": text,
        "api_error_status": 429,
    }
    assert classify(read(INIT, event, message_event, result), NOW).failure_class is FailureClass.THROTTLED


@pytest.mark.parametrize(
    ("fields", "failure_class"),
    [
        ({"api_error": "usage_limit_reached"}, FailureClass.QUOTA),
        (
            {"api_error": "long_context_credits_required", "api_error_status": 429},
            FailureClass.CREDIT_EXHAUSTED,
        ),
        ({"api_error": "org_disabled_credential"}, FailureClass.AUTH_REQUIRED),
        ({"api_error": "connection_failed"}, FailureClass.TRANSIENT),
        ({"terminal_reason": "image_error", "api_error_status": 400}, FailureClass.POISONED_SESSION),
        ({"terminal_reason": "image_error", "api_error_status": 413}, FailureClass.PROMPT_TOO_LONG),
        ({"stop_reason": "max_turns"}, FailureClass.MAX_TURNS),
    ],
)
def test_failure_is_classified_by_its_fields(fields: dict[str, Any], failure_class: FailureClass) -> None:
    assert classify(failed_run("x", **fields), NOW).failure_class is failure_class


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "Claude exited with code 1"),
        ({"subtype": "error_x"}, "Claude run failed: subtype=error_x"),
        ({"subtype": "success"}, "Claude exited with code 1"),
        ({"errors": [{"message": "boom"}, "bang", {"code": "E1"}, 5]}, "Claude run failed: boom; bang; E1"),
    ],
)
def test_failure_without_text_has_a_message(result: dict[str, Any], message: str) -> None:
    failure = failure_of(read(INIT, {"type": "result", "is_error": True, **result}))
    assert failure.message.startswith(f"{message} — ")


def test_empty_reply_names_the_stop_reason() -> None:
    def empty(stop_reason: str | None) -> Transcript:
        message: dict[str, Any] = {
            "id": "m1",
            "content": [],
            "stop_reason": stop_reason,
            "usage": {"output_tokens": 0},
        }
        return read(INIT, {"type": "assistant", "parent_tool_use_id": None, "message": message})

    assert "(stop_reason: null, output_tokens: 0)" in failure_of(empty(None)).message
    assert "(stop_reason: end_turn, output_tokens: 0)" in failure_of(empty("end_turn")).message
    assert failure_of(empty("end_turn")).code == "llm_api_error"
