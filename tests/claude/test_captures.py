"""In every capture (recorded run of the Claude CLI), the parser finds the facts that its description lists.

The description is the JSON file beside a capture.
"""

from datetime import UTC, datetime

import pytest
from tests.support.captures import ALL, recorded

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.accounting import TokenUsage
from paperclip_claude_k8s.claude.classification import FailureClass, classify, refused_session
from paperclip_claude_k8s.claude.events import read_event
from paperclip_claude_k8s.claude.results import is_success
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.verdict.ending import Exited
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

NOW = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
CLASS_OF_EXPECTED_CLASS = {
    "max_turns": FailureClass.MAX_TURNS,
    "max_budget": FailureClass.MAX_BUDGET,
    "unknown_session": FailureClass.SESSION_UNAVAILABLE,
    "auth": FailureClass.AUTH_REQUIRED,
    "overloaded": FailureClass.TRANSIENT,
    "server_error": FailureClass.TRANSIENT,
    "billing": FailureClass.CREDIT_EXHAUSTED,
    "model_not_found": FailureClass.MODEL_NOT_FOUND,
    "prompt_too_long": FailureClass.PROMPT_TOO_LONG,
    "refusal": FailureClass.REFUSAL,
    "max_output_tokens": FailureClass.MAX_OUTPUT,
    "empty_response": FailureClass.EMPTY_REPLY,
    "interrupted": FailureClass.OTHER,
}
"""`expected_class` of a description → the `FailureClass`."""
CLASS_OF_CAPTURE = {
    "08a-429-retry1": FailureClass.TRANSIENT,
    "08k-429-subscription-weekly": FailureClass.QUOTA,
    "09e-400-generic": FailureClass.OTHER,
    "09f-413": FailureClass.PROMPT_TOO_LONG,
    "09h-400-org-disabled": FailureClass.AUTH_REQUIRED,
    "11e-sse-error-mid": FailureClass.TRANSIENT,
}
"""The `FailureClass` of single captures; takes precedence over the class in their description."""


def read(stdout: bytes, stderr: str = "") -> Transcript:
    reader = StreamReader()
    reader.feed(stdout)
    reader.feed_stderr(stderr.encode())
    return reader.finish()


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_capture_facts_are_found(folder: str, name: str) -> None:
    stdout, description = recorded(name, folder)
    facts, transcript = description["facts"], read(stdout, description["stderr"])
    assert (transcript.result is None) is (facts["final_result"] is None)
    if facts["init_count"]:
        assert transcript.session_id == facts["session_ids"][0]
        assert transcript.init_model == facts["models_init"][-1]
    else:
        assert transcript.session_id is None
    assert list(transcript.assistant_errors) == facts["assistant_error_kinds"]


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_usage_and_cost_of_a_capture_are_those_of_its_run_alone(folder: str, name: str) -> None:
    stdout, description = recorded(name, folder)
    facts, resumed = description["facts"], "--resume" in description["argv"]
    usage_of_run = read(stdout, description["stderr"]).reported_usage.for_run(resumed=resumed)
    if facts["final_result"] is None:
        assert (usage_of_run.usage, usage_of_run.cost_usd) == (_usage_of_messages(stdout), None)
        return
    usage = facts.get("own_usage") or facts["usage_total_modelUsage"]
    if not any(usage.values()):  # the CLI reported no usage per model
        turns = facts["usage_sum_of_results"]
        usage = {name: turns[f"{name}_tokens"] or 0 for name in ("input", "output")} | {
            name: turns[f"{name}_input_tokens"] or 0 for name in ("cache_read", "cache_creation")
        }
    assert usage_of_run.usage is not None
    assert usage_of_run.usage.input_tokens == usage["input"] + usage["cache_creation"]
    assert usage_of_run.usage.output_tokens == usage["output"]
    assert usage_of_run.usage.cached_input_tokens == usage["cache_read"]
    assert usage_of_run.cost_usd == pytest.approx(facts.get("own_cost_usd", facts["total_cost_usd"]))
    assert usage_of_run.warning is None


def _usage_of_messages(stdout: bytes) -> TokenUsage | None:
    """The sum over the messages, each with the usage of its last event; None if it is 0."""
    events = [event for line in stdout.split(b"\n") if (event := read_event(line)) is not None]
    messages = [event["message"] for event in events if event["type"] == "assistant"]
    usages = {message["id"]: message["usage"] for message in messages}.values()
    total = TokenUsage(
        sum(usage["input_tokens"] + usage["cache_creation_input_tokens"] for usage in usages),
        sum(usage["output_tokens"] for usage in usages),
        sum(usage["cache_read_input_tokens"] for usage in usages),
    )
    return None if total == TokenUsage() else total


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_host_gets_the_session_the_cost_and_the_outcome_of_the_description(folder: str, name: str) -> None:
    stdout, description = recorded(name, folder)
    facts, resumed = description["facts"], "--resume" in description["argv"]
    transcript = read(stdout, description["stderr"])
    observation = Observation(
        Exited(Terminated(description["shell_exit_code"])), transcript, None, None, RunFacts("job", "ns")
    )
    failure = classify_end(observation, OutcomeInputs(NOW, resumed=resumed))
    wire = build_result(failure, observation, ResultInputs(NOW, resumed=resumed)).to_wire()
    assert wire.get("sessionId") == (facts["session_ids"][0] if facts["init_count"] else None)
    cost = facts.get("own_cost_usd", facts["total_cost_usd"])
    assert wire.get("costUsd") == (cost if cost is None else pytest.approx(cost))
    assert (failure is None) is facts["expected_class"].startswith("ok")
    assert wire["usageBasis"] == "per_run"


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_capture_failure_is_classified(folder: str, name: str) -> None:
    stdout, description = recorded(name, folder)
    transcript, expected = read(stdout, description["stderr"]), description["facts"]["expected_class"]
    result = transcript.result
    if result is None:
        session_in_use = "already in use" in description["stderr"]
        assert bool(refused_session(transcript)) is session_in_use
        return
    assert is_success(result) is expected.startswith("ok")
    if not is_success(result):
        assert classify(transcript, NOW).failure_class is (
            CLASS_OF_CAPTURE.get(name) or CLASS_OF_EXPECTED_CLASS[expected]
        )


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_reply_is_empty_if_and_only_if_the_description_says_so(folder: str, name: str) -> None:
    stdout, description = recorded(name, folder)
    transcript, expected = read(stdout), description["facts"]["expected_class"]
    assert transcript.empty_reply is (expected == "empty_response")
    if expected == "result_lost_at_exit":
        assert transcript.result is None


def test_weekly_limit_has_a_retry_time() -> None:
    stdout, _ = recorded("08k-429-subscription-weekly")
    classified = classify(read(stdout), NOW)
    assert classified.retry_at is not None
    assert classified.retry_at.tzinfo is not None
