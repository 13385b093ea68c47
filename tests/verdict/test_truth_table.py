"""The outcome (error code or success) of every combination of output and ending: one test per cell."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude import StreamReader
from paperclip_claude_k8s.cluster.model import Condition, Terminated
from paperclip_claude_k8s.podlog.log_report import LogReport
from paperclip_claude_k8s.relay import RelaySummary
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Disrupted,
    Ending,
    Exited,
    JobGone,
    PodLost,
    Stopped,
    StoppedAfterResult,
)
from paperclip_claude_k8s.verdict.observation import Observation, RunFacts, recover_result
from paperclip_claude_k8s.verdict.outcome import OutcomeInputs, classify_end
from paperclip_claude_k8s.verdict.result_builder import ResultInputs, build_result

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}
OK = "ok"
"""The outcome of a run without a failure."""
MORE_BYTES = 1_000_000
"""Bytes of stdout according to the relay, more than the log has."""


def answer(**message: Any) -> dict[str, Any]:
    body = {"id": "msg", "model": "m", "stop_reason": None, "usage": {"output_tokens": 1}, **message}
    return {"type": "assistant", "parent_tool_use_id": None, "session_id": "s", "message": body}


def result(subtype: str = "success", *, error: bool = False, **more: Any) -> dict[str, Any]:
    fields = {"type": "result", "subtype": subtype, "is_error": error, "session_id": "s", **more}
    return {"terminal_reason": "completed", "stop_reason": "end_turn", **fields}


ANSWER = answer(content=[{"type": "text", "text": "Hello"}])
EMPTY_ANSWER = answer(content=[], usage={"output_tokens": 0})
CUT_ANSWER = '{"type":"assistant","parent_tool_use_id":null,"message":{"id":"m","content":[{"ty'
OUTPUTS: dict[str, list[dict[str, Any] | str]] = {
    "nothing": [],
    "plain text": ["sh: claude: not found"],
    "init only": [INIT],
    "empty reply": [INIT, EMPTY_ANSWER],
    "cut short": [INIT, ANSWER],
    "cut answer": [INIT, CUT_ANSWER],
    "success": [INIT, ANSWER, result(result="Hello")],
    "success, stop_reason null": [INIT, ANSWER, result(result="Hello", stop_reason=None)],
    "success, empty": [INIT, result(result="")],
    "success, then more": [INIT, ANSWER, result(result="Hello"), INIT, ANSWER],
    "success, then init": [INIT, ANSWER, result(result="Hello"), INIT],
    "success, then cut answer": [INIT, ANSWER, result(result="Hello"), CUT_ANSWER],
    "success, then cut init": [
        INIT,
        ANSWER,
        result(result="Hello"),
        '{"type":"system","subtype":"init","cwd',
    ],
    "zero turn, then init": [INIT, result(result="", num_turns=0), INIT],
    "failure, then more": [INIT, result(error=True, result="API Error: 500 x"), INIT, ANSWER],
    "success, then a sub-agent": [INIT, ANSWER, result(result="Hello"), ANSWER | {"parent_tool_use_id": "t"}],
    "success with another subtype": [INIT, ANSWER, result("end_turn", result="Hello")],
    "success with an empty subtype": [INIT, ANSWER, result("", result="Hello")],
    "error subtype without is_error": [INIT, ANSWER, result("error_of_any_kind")],
    "is_error, api 500": [INIT, result(error=True, result="API Error: 500 x", api_error_status=500)],
    "is_error of no known class": [INIT, result(error=True, result="Something else")],
    "max turns": [INIT, ANSWER, result("error_max_turns", error=True, errors=["Reached maximum"])],
    "error_during_execution": [INIT, ANSWER, result("error_during_execution", error=True, errors=["boom"])],
    "failure, then success": [
        INIT,
        result(error=True, result="API Error: 500"),
        INIT,
        result(result="Hello"),
    ],
    "success, then failure": [INIT, result(result="Hello"), INIT, result("error_max_turns", error=True)],
}
ENDINGS: dict[str, Ending] = {
    "exit 0": Exited(Terminated(0, "Completed")),
    "exit 1": Exited(Terminated(1, "Error")),
    "SIGKILL": Exited(Terminated(137, "Error")),
    "OOM": Exited(Terminated(137, "OOMKilled")),
    "SIGTERM": Exited(Terminated(143, "Error")),
    "exit unknown": Exited(Terminated(None, "ContainerStatusUnknown")),
    "evicted": Disrupted("pod", "Evicted", "The node was low on memory"),
    "job deleted": JobGone("watch"),
    "pod gone without its log": PodLost(
        failures.pod_reattach_failed("Job job has finished and its Pod is gone")
    ),
    "deadline": DeadlinePassed(),
    "cancelled": Stopped(proven=True),
    "stopped after its result": StoppedAfterResult(300, Terminated(143, "Error")),
    "stopped after its result, exit unknown": StoppedAfterResult(300),
}
EXITS = [name for name in ENDINGS if name.startswith(("exit", "SIG", "OOM", "stopped"))]
"""Endings in which the container ended by itself, or was stopped after its result."""
WITH_FINAL_RESULT = {
    "success": OK,
    "success, stop_reason null": OK,
    "success, empty": OK,
    "success, then a sub-agent": OK,
    "success with another subtype": OK,
    "success with an empty subtype": OK,
    "error subtype without is_error": "claude_failed",
    "is_error, api 500": "claude_transient_upstream",
    "is_error of no known class": "claude_failed",
    "max turns": "max_turns_exhausted",
    "error_during_execution": "claude_failed",
    "failure, then success": OK,
    "success, then failure": "max_turns_exhausted",
}
"""Outcomes with a final result, unless the ending is one of `DECISIVE`."""
WITHOUT_FINAL_RESULT = {
    "nothing": "claude_no_result",
    "plain text": "claude_no_result",
    "init only": "claude_init_failed",
    "empty reply": "llm_api_error",
    "cut short": "claude_truncated",
    "cut answer": "claude_truncated",
    "success, then more": "claude_truncated",
    "success, then init": "claude_truncated",
    "success, then cut answer": "claude_truncated",
    "success, then cut init": "claude_truncated",
    "zero turn, then init": "claude_truncated",
    "failure, then more": "claude_truncated",
}
"""Outcomes without a final result, if the container ended by itself."""
DECISIVE = {"deadline": "timeout", "cancelled": "cancelled"}
"""Error codes of the endings that decide the outcome whatever the output is."""
DISRUPTIONS = {
    "evicted": "k8s_pod_disrupted",
    "job deleted": "k8s_job_deleted_externally",
    "pod gone without its log": "k8s_pod_reattach_failed",
}
"""Error codes of the endings that decide the outcome if there is no final result."""


def expected(output: str, ending: str) -> str:
    if ending in DECISIVE:
        return DECISIVE[ending]
    return WITH_FINAL_RESULT.get(output) or DISRUPTIONS.get(ending) or WITHOUT_FINAL_RESULT[output]


def observe(
    output: list[dict[str, Any] | str], ending: Ending, relay: RelaySummary | None = None
) -> Observation:
    reader = StreamReader()
    for line in output:
        text = line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))
        reader.feed(text.encode() + b"\n")
    transcript = recover_result(reader.finish(), relay)
    return Observation(
        ending, transcript, log=None, relay=relay, facts=RunFacts("job", "ns", seconds_running=5.0)
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_outcome_follows_the_truth_table(output: str, ending: str) -> None:
    failure = classify_end(observe(OUTPUTS[output], ENDINGS[ending]), OutcomeInputs(NOW, timeout=60))
    assert (OK if failure is None else str(failure.code)) == expected(output, ending)
    if failure is not None:
        assert failure.message
        assert '{"type"' not in failure.message
        assert "Hello" not in failure.message


def test_truth_table_is_complete() -> None:
    assert {*WITH_FINAL_RESULT, *WITHOUT_FINAL_RESULT} == set(OUTPUTS)
    assert {*EXITS, *DECISIVE, *DISRUPTIONS} == set(ENDINGS)


@pytest.mark.parametrize("ending", EXITS)
def test_result_missing_in_the_log_is_taken_from_the_relay_summary(ending: str) -> None:
    relay = RelaySummary(
        bytes=9,
        lines=1,
        sha256=None,
        exit_code=0,
        session_id="s",
        subtype="success",
        is_error=False,
        cost_usd=0.5,
    )
    observation = observe(OUTPUTS["cut short"], ENDINGS[ending], relay)
    assert classify_end(observation, OutcomeInputs(NOW)) is None
    assert observation.transcript.session_id == "s"
    assert observation.transcript.cost_usd == 0.5
    assert any("missing from the log" in warning.text for warning in observation.transcript.warnings)


def test_failure_that_the_log_lacks_comes_from_the_relay_summary() -> None:
    relay = RelaySummary(
        bytes=9,
        lines=1,
        sha256=None,
        exit_code=1,
        session_id="asked",
        subtype="error_max_turns",
        is_error=True,
    )
    observation = observe([], ENDINGS["exit 1"], relay)
    failure = classify_end(observation, OutcomeInputs(NOW))
    assert failure is not None
    assert failure.code == "max_turns_exhausted"
    # a failed resume reports the requested session, so the session of a failure is not used
    assert observation.transcript.session_id is None


@pytest.mark.parametrize("last", ["answer", "init"])
@pytest.mark.parametrize("ending", EXITS)
def test_result_is_dropped_if_output_that_the_log_lacks_followed_it(ending: str, last: str) -> None:
    relay = RelaySummary(bytes=MORE_BYTES, lines=9, sha256=None, exit_code=0, last=last)
    observation = observe(OUTPUTS["success"], ENDINGS[ending], relay)
    failure = classify_end(observation, OutcomeInputs(NOW))
    assert failure is not None
    assert failure.code == "claude_truncated"
    assert observation.transcript.usage is not None


def test_later_result_of_the_relay_summary_replaces_the_one_in_the_log() -> None:
    relay = RelaySummary(
        bytes=MORE_BYTES,
        lines=9,
        sha256=None,
        exit_code=1,
        subtype="error_max_turns",
        is_error=True,
        last="result",
    )
    failure = classify_end(observe(OUTPUTS["success"], ENDINGS["exit 1"], relay), OutcomeInputs(NOW))
    assert failure is not None
    assert failure.code == "max_turns_exhausted"


def test_result_in_the_log_is_kept_if_the_relay_agrees() -> None:
    relay = RelaySummary(
        bytes=MORE_BYTES,
        lines=9,
        sha256=None,
        exit_code=0,
        session_id="other",
        subtype="success",
        is_error=False,
        last="result",
    )
    assert (
        observe(OUTPUTS["success"], ENDINGS["exit 0"], relay).transcript
        == observe(OUTPUTS["success"], ENDINGS["exit 0"]).transcript
    )


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        ("OOM", "exit code 137, SIGKILL (commonly OOMKilled), reason=OOMKilled"),
        ("SIGTERM", "exit code 143, SIGTERM, reason=Error"),
        (
            "exit unknown",
            (
                "no exit code, the container was lost: its node assumes the exit code, "
                "reason=ContainerStatusUnknown"
            ),
        ),
    ],
)
def test_truncated_run_reports_the_container_end(ending: str, cause: str) -> None:
    failure = classify_end(observe(OUTPUTS["cut short"], ENDINGS[ending]), OutcomeInputs(NOW))
    assert failure is not None
    assert failure.what == (
        "Claude run was truncated mid-stream (model: m) — assistant produced content but no result event "
        f"arrived; {cause}"
    )
    assert ("`resources.limits.memory`" in failure.next_step) == (ending == "OOM")


def warnings(relay: RelaySummary | None, log: LogReport | None) -> list[str]:
    observation = replace(observe(OUTPUTS["success"], ENDINGS["exit 0"]), relay=relay, log=log)
    result = build_result(None, observation, ResultInputs(now=NOW)).result_json
    assert result is not None
    return [str(text) for text in result.get("warnings", [])]


def test_unusable_output_copy_is_a_warning() -> None:
    relay = RelaySummary(
        bytes=9,
        lines=1,
        sha256=None,
        exit_code=0,
        copied=4,
        copy_trouble="the copy ends after 4 bytes: disk full",
    )
    log = LogReport(
        complete=True,
        bytes=9,
        lines=1,
        reconnects=0,
        gaps=(),
        sink_failures=0,
        first_sink_error=None,
        sha256="",
        file_trouble="Permission denied",
    )
    (file_warning,) = warnings(None, log)
    assert "(Permission denied)" in file_warning
    assert warnings(relay, None) == [f"log_copy_unusable: {relay.copy_trouble}"]
    assert warnings(relay, log) == [f"log_copy_unusable: {relay.copy_trouble}", file_warning]
    assert warnings(replace(relay, copy_trouble=None), replace(log, file_trouble=None)) == []


@pytest.mark.parametrize("output", OUTPUTS)
def test_agent_stopped_after_its_result_has_a_warning_and_its_container_exit_code(
    output: str,
) -> None:
    observation = observe(OUTPUTS[output], ENDINGS["stopped after its result"])
    wire = build_result(
        classify_end(observation, OutcomeInputs(NOW)), observation, ResultInputs(NOW)
    ).to_wire()
    warning = "agent_stopped: Claude printed its result and did not exit within 300 s; it was stopped"
    assert warning in wire["resultJson"]["warnings"]
    assert wire["resultJson"]["containerExitCode"] == 143
    if WITH_FINAL_RESULT.get(output) == OK:
        assert wire["exitCode"] == 0
        assert wire.get("signal") is None
        assert wire.get("errorCode") is None


@pytest.mark.parametrize("ending", DECISIVE)
@pytest.mark.parametrize("output", WITH_FINAL_RESULT)
def test_timeout_or_cancellation_after_a_final_result_keeps_its_fields(output: str, ending: str) -> None:
    usage_and_cost = {"usage": {"input_tokens": 3, "output_tokens": 5}, "total_cost_usd": 0.25}
    lines = [
        line | usage_and_cost if isinstance(line, dict) and line["type"] == "result" else line
        for line in OUTPUTS[output]
    ]
    observation = observe(lines, ENDINGS[ending])
    wire = build_result(
        classify_end(observation, OutcomeInputs(NOW, timeout=60)), observation, ResultInputs(NOW)
    ).to_wire()
    results = sum(isinstance(line, dict) and line["type"] == "result" for line in lines)
    assert wire["errorCode"] == DECISIVE[ending]
    assert wire["usage"]["inputTokens"] == 3 * results
    assert wire["costUsd"] == 0.25
    assert wire["resultJson"]["total_cost_usd"] == 0.25
    assert wire.get("summary") == (observation.transcript.summary or None)
    if ANSWER in lines:
        assert wire["summary"] == "Hello"


@pytest.mark.parametrize("finished", [False, True])
def test_deleted_job_is_reported_with_its_ttl_only_if_it_had_finished(*, finished: bool) -> None:
    facts = RunFacts("job", "ns", conditions=(Condition("Complete", "True"),) if finished else ())
    failure = classify_end(
        replace(observe(OUTPUTS["cut short"], JobGone("direct read")), facts=facts), OutcomeInputs(NOW)
    )
    assert failure is not None
    assert failure.code == "k8s_job_deleted_externally"
    assert ("before Claude could complete" in failure.what) is not finished
    assert ("ttlSecondsAfterFinished" in failure.next_step) is finished


def test_deadline_that_the_config_does_not_have_is_reported_without_a_duration() -> None:
    failure = classify_end(observe(OUTPUTS["nothing"], DeadlinePassed()), OutcomeInputs(NOW))
    assert failure is not None
    assert failure.code == "timeout"
    assert "activeDeadlineSeconds" in failure.message
