"""Every recorded run of the CLI, in one piece and byte by byte: all facts of its sidecar come out right."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.complaints import Complaint, classify, stderr_complaint

CAPTURES = Path(__file__).parents[2] / "fixtures" / "claude" / "captures"
NAMES = sorted(path.stem for path in CAPTURES.glob("*.json"))
NOW = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
CLASSES = {
    "max_turns": Complaint.MAX_TURNS,
    "max_budget": Complaint.MAX_BUDGET,
    "unknown_session": Complaint.SESSION_UNAVAILABLE,
    "auth": Complaint.AUTH_REQUIRED,
    "overloaded": Complaint.TRANSIENT,
    "server_error": Complaint.TRANSIENT,
    "billing": Complaint.CREDIT_EXHAUSTED,
    "model_not_found": Complaint.MODEL_NOT_FOUND,
    "prompt_too_long": Complaint.PROMPT_TOO_LONG,
    "refusal": Complaint.REFUSAL,
    "max_output_tokens": Complaint.MAX_OUTPUT,
    "empty_response": Complaint.EMPTY_REPLY,
    "interrupted": Complaint.OTHER,
}
"""Expected class of the sidecar → ours, where one word says it."""
PARTICULAR = {
    "08a-429-retry1": Complaint.TRANSIENT,
    "08k-429-subscription-weekly": Complaint.QUOTA,
    "09e-400-generic": Complaint.OTHER,
    "09f-413": Complaint.PROMPT_TOO_LONG,
    "09h-400-org-disabled": Complaint.AUTH_REQUIRED,
    "11e-sse-error-mid": Complaint.TRANSIENT,
}


def recorded(name: str) -> tuple[bytes, dict[str, Any]]:
    plain = CAPTURES / f"{name}.ndjson"
    packed = CAPTURES / f"{name}.ndjson.gz"
    stdout = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    return stdout, json.loads((CAPTURES / f"{name}.json").read_text(encoding="utf-8"))


def read(stdout: bytes, stderr: str = "") -> Transcript:
    reader = StreamReader()
    reader.feed(stdout)
    reader.feed_stderr(stderr.encode())
    return reader.finish()


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_of_a_capture_is_found(name: str) -> None:
    stdout, told = recorded(name)
    facts, transcript = told["facts"], read(stdout, told["stderr"])
    final = facts.get("final_result")
    assert (transcript.result is None) is (final is None)
    if facts["init_count"]:
        assert transcript.session_id == facts["session_ids"][0]
        assert transcript.init_model == facts["models_init"][-1]
    else:
        assert transcript.session_id is None
    assert list(transcript.assistant_errors) == facts["assistant_error_kinds"]
    if final is not None:
        assert transcript.cost_usd == pytest.approx(facts["total_cost_usd"])
        assert transcript.usage is not None
        rows = list((final.get("modelUsage") or {}).values())
        fresh = sum(row["inputTokens"] + row["cacheCreationInputTokens"] for row in rows)
        if rows:
            assert transcript.usage.input_tokens == fresh
            assert transcript.usage.output_tokens == sum(row["outputTokens"] for row in rows)
            assert transcript.usage.cached_input_tokens == sum(row["cacheReadInputTokens"] for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_told_as_what_it_is_and_a_success_is_none(name: str) -> None:
    stdout, told = recorded(name)
    transcript, expected = read(stdout, told["stderr"]), told["facts"]["expected_class"]
    result = transcript.result
    if result is None:
        session_in_use = "already in use" in told["stderr"]
        assert (stderr_complaint(told["stderr"]) is Complaint.SESSION_UNAVAILABLE) is session_in_use
        return
    good = not result["is_error"] and result["subtype"] == "success"
    assert good is expected.startswith("ok")
    if not good:
        assert classify(transcript, NOW).complaint is (PARTICULAR.get(name) or CLASSES[expected])


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_answer_is_told_from_an_empty_one(name: str) -> None:
    stdout, told = recorded(name)
    transcript, expected = read(stdout), told["facts"]["expected_class"]
    assert transcript.empty_reply is (expected == "empty_response")
    if expected == "result_lost_at_exit":
        assert transcript.result is None


def test_a_weekly_limit_says_when_it_resets() -> None:
    stdout, _ = recorded("08k-429-subscription-weekly")
    said = classify(read(stdout), NOW)
    assert said.retry_at is not None
    assert said.retry_at.tzinfo is not None
