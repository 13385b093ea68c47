"""A result is used only if no `init` event and no answer of the model follows it. Otherwise it is overtaken.

`recover_result` applies this rule to the relay's summary if the log lacks the end of the output.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude import StreamReader, Transcript
from paperclip_claude_k8s.claude.run_warnings import RunWarning
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import (
    Disrupted,
    Ending,
    Exited,
    JobGone,
    PodLost,
    StoppedAfterResult,
)
from paperclip_claude_k8s.verdict.observation import (
    FOREIGN_OUTPUT,
    RESULT_FROM_RELAY,
    RESULT_NOT_LAST,
    Observation,
    RunFacts,
    recover_result,
)
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USAGE = {"input_tokens": 3, "output_tokens": 5}


def answer(text: str, parent: str | None = None) -> dict[str, Any]:
    message = {"id": text, "model": "m", "content": [{"type": "text", "text": text}]}
    return {"type": "assistant", "parent_tool_use_id": parent, "message": message, "uuid": text}


EVENTS: dict[str, dict[str, Any]] = {
    "init": {"type": "system", "subtype": "init", "session_id": "s", "model": "m"},
    "answer": answer("Hello"),
    "sub-agent": answer("hidden", "toolu_1"),
    "tool output": {"type": "user", "message": {"content": []}, "parent_tool_use_id": None},
    "success": {"type": "result", "subtype": "success", "is_error": False, "result": "done", "usage": USAGE},
    "zero turn": {"type": "result", "subtype": "success", "result": "", "num_turns": 0, "usage": {}},
    # the CLI reports an error of the API as a result of subtype success with is_error
    "failure": {"type": "result", "subtype": "success", "is_error": True, "result": "odd", "usage": USAGE},
}
MORE_BYTES = 10_000
"""Bytes of stdout according to the relay, more than the log has."""
RESULTS = ("success", "zero turn", "failure")
INDECISIVE = ("sub-agent", "tool output")
"""Events that do not show whether a turn continues."""
ENDINGS: dict[str, tuple[Ending, str | None]] = {
    # the ending, and the error code that it causes if there is no result
    "exit 0": (Exited(Terminated(0)), None),
    "exit 1": (Exited(Terminated(1)), None),
    "out of memory": (Exited(Terminated(137, "OOMKilled")), None),
    "SIGTERM": (Exited(Terminated(143)), None),
    "stopped after its result": (StoppedAfterResult(300, Terminated(143)), None),
    "exit unknown": (Exited(Terminated(None)), None),
    "evicted": (Disrupted("pod", "Evicted", ""), "k8s_pod_disrupted"),
    "deleted": (JobGone("watch"), "k8s_job_deleted_externally"),
    "Pod lost": (PodLost(failures.pod_reattach_failed("gone")), "k8s_pod_reattach_failed"),
}
EVENT_ORDERS = st.lists(st.sampled_from(sorted(EVENTS)), max_size=10)


def read(names: Sequence[str]) -> Transcript:
    reader = StreamReader()
    reader.feed(printed(names))
    return reader.finish()


def printed(names: Sequence[str]) -> bytes:
    return b"".join(json.dumps(EVENTS[name], separators=(",", ":")).encode() + b"\n" for name in names)


def last_decisive(names: Sequence[str]) -> str:
    """The last event that shows whether the run has a result."""
    return next((name for name in reversed(names) if name not in INDECISIVE), "nothing")


def code_without_result(names: Sequence[str]) -> str:
    """The error code of a run without a result whose container ended by itself."""
    if "answer" in names or any(name in RESULTS for name in names):
        return "claude_truncated"
    return "claude_init_failed" if "init" in names else "claude_no_result"


@given(EVENT_ORDERS, st.sampled_from(sorted(ENDINGS)))
@settings(max_examples=400)
def test_outcome_follows_the_last_decisive_event_in_any_order_of_events(names: list[str], end: str) -> None:
    ending, code = ENDINGS[end]
    observation = Observation(ending, read(names), log=None, relay=None, facts=RunFacts("job", "ns"))
    failure = classify_end(observation, OutcomeInputs(NOW))
    wire = build_result(failure, observation, ResultInputs(NOW)).to_wire()
    match last_decisive(names):
        case "success" | "zero turn":
            assert failure is None
        case "failure":
            assert wire["errorCode"] == "claude_failed"
        case _:
            assert wire["errorCode"] == (code or code_without_result(names))
            assert "result" not in wire["resultJson"]
            assert ("Hello" in wire.get("summary", "")) is ("answer" in names)
    turns = sum(name in {"success", "failure"} for name in names)
    has_usage = any(name in RESULTS for name in names)
    assert wire.get("usage", {}).get("inputTokens") == (3 * turns if has_usage else None)


@given(EVENT_ORDERS, st.integers(0, 10), st.sampled_from(("exit 0", "out of memory", "evicted", "deleted")))
@settings(max_examples=400)
def test_outcome_follows_the_relay_summary_if_the_log_lacks_the_last_events(
    names: list[str], read_count: int, end: str
) -> None:
    """The log lacks the last events; the relay saw all events, and its summary follows the same rule."""
    whole = printed(names)
    last = EVENTS.get(last_decisive(names), {})
    final = last if last.get("type") == "result" else {}
    relay = RelaySummary(
        bytes=len(whole),
        lines=len(names),
        sha256=None,
        exit_code=0,
        subtype=final.get("subtype"),
        is_error=bool(final.get("is_error")) if final else None,
        last="result" if final else last_decisive(names),
    )
    transcript = recover_result(read(names[:read_count]), relay)
    observation = Observation(ENDINGS[end][0], transcript, log=None, relay=relay, facts=RunFacts("job", "ns"))
    failure = classify_end(observation, OutcomeInputs(NOW))
    assert (failure is None) is (last_decisive(names) in {"success", "zero turn"})
    if last_decisive(names) == "failure":
        assert failure is not None
        assert failure.code == "claude_failed"
    elif failure is not None and ENDINGS[end][1]:
        assert failure.code == ENDINGS[end][1]


def test_overtaken_result_counts_for_usage_but_not_as_a_success() -> None:
    transcript = read(["init", "answer", "success", "init"])
    observation = Observation(
        Exited(Terminated(143)), transcript, log=None, relay=None, facts=RunFacts("job", "ns")
    )
    wire = build_result(
        classify_end(observation, OutcomeInputs(NOW)), observation, ResultInputs(NOW)
    ).to_wire()
    assert wire["errorMessage"].startswith("Claude run was truncated mid-stream (model: m)")
    assert "an earlier turn ended with a result" in wire["errorMessage"]
    assert wire["usage"]["outputTokens"] == 5
    assert wire["summary"] == "Hello"
    assert any("continued after its last result" in warning for warning in wire["resultJson"]["warnings"])


def test_sub_agent_event_does_not_overtake_a_result() -> None:
    reader = StreamReader()
    call = {"type": "tool_use", "name": "x", "input": {"parent_tool_use_id": None}}
    event = answer("hidden", "toolu_1") | {"message": {"content": [call]}}
    lines = printed(["init", "answer", "success"]) + json.dumps(event, separators=(",", ":")).encode() + b"\n"
    reader.feed(lines)
    assert reader.finish().result is not None


def test_lines_of_another_program_set_neither_session_nor_cost() -> None:
    """Another agent on the volume has inserted the second and third line into the copy of the output."""
    reader = StreamReader()
    forged = [EVENTS["init"] | {"session_id": "forged"}, EVENTS["success"] | {"total_cost_usd": 900_000}]
    events = [EVENTS["init"], *forged, EVENTS["answer"], EVENTS["success"] | {"total_cost_usd": 0.25}]
    lines = [json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events]
    reader.feed(b"".join(lines))
    relay_bytes = sum(map(len, [lines[0], *lines[3:]]))
    relay = RelaySummary(
        bytes=relay_bytes,
        lines=3,
        sha256=None,
        exit_code=0,
        session_id="s",
        subtype="success",
        is_error=False,
        cost_usd=0.25,
        last="result",
    )
    observation = Observation(
        Exited(Terminated(0)),
        recover_result(reader.finish(), relay),
        log=None,
        relay=relay,
        facts=RunFacts("job", "ns"),
    )
    failure = classify_end(observation, OutcomeInputs(NOW))
    wire = build_result(failure, observation, ResultInputs(NOW)).to_wire()
    assert failure is None
    assert (wire["sessionId"], wire["costUsd"], wire["summary"]) == ("s", 0.25, "done")
    assert "usage" not in wire
    assert str(FOREIGN_OUTPUT) in wire["resultJson"]["warnings"]


def test_summary_of_a_relay_that_could_not_count_changes_nothing() -> None:
    transcript = read(["init", "answer", "success"])
    relay = RelaySummary(
        bytes=0,
        lines=0,
        sha256=None,
        exit_code=0,
        session_id="s",
        subtype="success",
        is_error=False,
        last="result",
    )
    assert recover_result(transcript, relay) == transcript


def test_relay_summary_is_ignored_if_the_log_is_complete() -> None:
    names = ["init", "answer", "success", "init", "answer"]
    relay = RelaySummary(
        bytes=len(printed(names)), lines=5, sha256=None, exit_code=137, subtype="success", is_error=False
    )
    assert recover_result(read(names), relay).result is None


@pytest.mark.parametrize(
    ("relay_subtype", "warning"), [("success", RESULT_FROM_RELAY), (None, RESULT_NOT_LAST)]
)
def test_output_that_the_log_lacks_adds_a_warning(relay_subtype: str | None, warning: RunWarning) -> None:
    names = ["init", "answer"] if relay_subtype else ["init", "answer", "success"]
    error = None if relay_subtype is None else False
    last = "result" if relay_subtype else "answer"
    relay = RelaySummary(
        bytes=MORE_BYTES,
        lines=9,
        sha256=None,
        exit_code=0,
        subtype=relay_subtype,
        is_error=error,
        cost_usd=0.5,
        last=last,
    )
    transcript = recover_result(read(names), relay)
    assert warning in transcript.warnings
    assert (transcript.result is None) is (relay_subtype is None)
    assert transcript.cost_usd == (0.5 if relay_subtype else None)


def test_result_of_the_relay_replaces_the_one_in_the_log_only_if_its_cost_differs() -> None:
    for relay_cost, cost in ((None, 0.1), (0.1, 0.1), (0.3, 0.3)):
        reader = StreamReader()
        event = EVENTS["success"] | {"total_cost_usd": 0.1}
        reader.feed(printed(["init", "answer"]) + json.dumps(event).encode() + b"\n")
        relay = RelaySummary(
            bytes=MORE_BYTES,
            lines=9,
            sha256=None,
            exit_code=0,
            subtype="success",
            is_error=False,
            cost_usd=relay_cost,
        )
        transcript = recover_result(reader.finish(), relay)
        assert transcript.cost_usd == cost
        assert (RESULT_FROM_RELAY in transcript.warnings) is (relay_cost == 0.3)


def test_result_of_the_relay_without_a_subtype_is_recovered() -> None:
    relay = RelaySummary(bytes=MORE_BYTES, lines=9, sha256=None, exit_code=0, is_error=False)
    transcript = recover_result(read(["init", "answer"]), relay)
    assert (
        classify_end(
            Observation(
                Exited(Terminated(0)), transcript, log=None, relay=relay, facts=RunFacts("job", "ns")
            ),
            OutcomeInputs(NOW),
        )
        is None
    )


@pytest.mark.parametrize("subtype", ["stop", "end_turn", None])
def test_success_with_unknown_subtype_adds_a_warning(subtype: str | None) -> None:
    reader = StreamReader()
    event = EVENTS["success"] | {"subtype": subtype}
    reader.feed(printed(["init", "answer"]) + json.dumps(event).encode() + b"\n")
    observation = Observation(
        Exited(Terminated(0)), reader.finish(), log=None, relay=None, facts=RunFacts("job", "ns")
    )
    assert classify_end(observation, OutcomeInputs(NOW)) is None
    wire = build_result(None, observation, ResultInputs(NOW)).to_wire()
    assert any(repr(subtype) in warning for warning in wire["resultJson"]["warnings"])


@pytest.mark.parametrize(
    ("code", "name"), [(137, "SIGKILL"), (143, "SIGTERM"), (139, "SIGSEGV"), (132, "SIGILL")]
)
def test_kill_before_the_first_answer_does_not_suggest_another_model(code: int, name: str) -> None:
    observation = Observation(
        Exited(Terminated(code)), read(["init"]), log=None, relay=None, facts=RunFacts("job", "ns")
    )
    failure = classify_end(observation, OutcomeInputs(NOW))
    assert failure is not None
    assert failure.code == "claude_init_failed"
    assert name in failure.message
    assert "unsupported" not in failure.message
