"""Builds the result that the host receives, from failure and observation.

Failed runs report what was observed too: session, usage, summary. A field whose value is unknown is left out,
because the host treats an absent `sessionParams` as "keep the session" and a null one as "end it".
A failed run carries evidence for the host's decision about a retry: see `docs/errors.md`.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from paperclip_claude_k8s.base.settings import LIMITS
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.claude.failure_texts import signal_name
from paperclip_claude_k8s.claude.result_fields import fields_for_host
from paperclip_claude_k8s.claude.run_warnings import RunWarning, WarningCode
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.result import BillingType, ExecutionResult, Usage
from paperclip_claude_k8s.verdict.ending import StoppedAfterResult, StopReason
from paperclip_claude_k8s.verdict.observation import Observation
from paperclip_claude_k8s.verdict.session_report import SessionReport, session_fields, session_warnings
from paperclip_claude_k8s.verdict.wording import (
    describe_unproven_end,
    describe_unusable_copy,
    error_text,
    iso_from_nanos,
)
from paperclip_claude_k8s.verdict.workspace_end import without_files

CONTINUATION = {"conversationContinuation": "continue_conversation_v1"}
"""An undocumented field of the host: with it, comments wake the agent after a failed run."""


@dataclass(frozen=True, slots=True)
class HostFailures:
    """How many chunks of output were lost because the host's `onLog` raised, and the first error, masked."""

    chunks: int = 0
    first_error: str = ""

    def with_one_more(self, error: str) -> "HostFailures":
        """A copy with one more lost chunk. `error` is masked text."""
        return HostFailures(self.chunks + 1, self.first_error or error)


@dataclass(frozen=True, slots=True)
class ResultInputs:
    """What the result needs besides failure and observation."""

    now: datetime
    model: str = ""
    session_params: JsonMap = field(default_factory=dict)
    """Stored by the host with the session id: cwd, workspace, repository, bundle key, MCP identity."""
    billing: BillingType | None = None
    biller: str | None = None
    continuation_marker: bool = True
    """Whether the result may contain `CONTINUATION`."""
    clear_session: bool = False
    """Whether the host has to forget its stored session."""
    resumed: bool | None = None
    """Whether the run resumed a session; None if unknown."""
    session: SessionReport | None = None
    """What the plan says about the session; None if there is no plan."""
    repository_refused: str = ""
    """Why the repository in the context must not be cloned, as a clause; "" if it may be cloned."""
    earlier: RunUsage | None = None
    """Usage of an earlier attempt of the same run."""
    host_failures: HostFailures = field(default_factory=HostFailures)


def build_result(failure: Failure | None, observation: Observation, inputs: ResultInputs) -> ExecutionResult:
    """The result of a run that was observed."""
    reported = observation.transcript.reported_usage
    run_usage = reported.for_run(resumed=inputs.resumed).with_earlier(inputs.earlier).believable()
    observed = _observed_fields(failure, observation, run_usage, inputs)
    if failure is None:
        return ExecutionResult(
            exit_code=0, **observed, result_json=_result_json(observation, run_usage, inputs)
        )
    extra = _result_json(observation, run_usage, inputs, failed=True)
    return ExecutionResult(**observed | _failure_fields(failure, inputs, extra, observation.exit_code))


def early_failure(failure: Failure, inputs: ResultInputs) -> ExecutionResult:
    """The result of a run that failed before anything could be observed."""
    return ExecutionResult(**_failure_fields(failure, inputs, extra={}, exit_code=None))


def _observed_fields(
    failure: Failure | None, observation: Observation, run_usage: RunUsage, inputs: ResultInputs
) -> JsonMap:
    transcript, usage = observation.transcript, run_usage.usage
    session_id = None if failure is not None and failure.loses_session else transcript.session_id
    known: JsonMap = {
        "provider": "anthropic",
        "biller": inputs.biller,
        "billing_type": inputs.billing,
        "model": transcript.model or inputs.model or None,
        "summary": transcript.summary or None,
        "cost_usd": run_usage.cost_usd,
        "usage": usage
        and Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
        ),
        "clear_session": inputs.clear_session or transcript.session_lost or None,
        **_session_fields(session_id, inputs),
    }
    return {key: value for key, value in known.items() if value is not None}


def _session_fields(session_id: str | None, inputs: ResultInputs) -> JsonMap:
    if session_id is None:
        return {}
    return {
        "session_id": session_id,
        "session_display_id": session_id,
        "session_params": {"sessionId": session_id, **inputs.session_params},
    }


def _failure_fields(failure: Failure, inputs: ResultInputs, extra: JsonMap, exit_code: int | None) -> JsonMap:
    interrupted = failure.evidence == "interrupted"
    fields: JsonMap = {
        "exit_code": None if interrupted else exit_code,
        "signal": "SIGTERM" if interrupted else None,
        "timed_out": failure.code == "timeout",
        "error_message": neutral(failure.message[: LIMITS.message_chars]),
        "error_code": str(failure.code),
        "error_family": failure.family,
        "retry_not_before": failure.retry_not_before,
        "error_meta": failure.meta or None,
        "execution_recovery": _recovery(failure),
        "clear_session": failure.clear_session or None,
        "result_json": extra | _evidence(failure, inputs),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _recovery(failure: Failure) -> JsonMap | None:
    """`executionRecovery`: what the host may conclude without asking a person."""
    match failure.evidence:
        case "bootstrap":
            return {"kind": "bootstrap", "providerWorkStarted": False}
        case "interrupted":
            return {
                "kind": "interrupted",
                "providerStopped": True,
                "sessionPreserved": True,
                "actionOutcomes": "settled",
            }
        case _:
            return None


def _evidence(failure: Failure, inputs: ResultInputs) -> JsonMap:
    """The part of the evidence that the host reads from `resultJson`."""
    if failure.evidence == "interrupted":
        acknowledged = {"state": "acknowledged", "acknowledgedAt": format_time(inputs.now), "forced": False}
        return {"executionCancellation": acknowledged}
    if failure.evidence == "continuation" and inputs.continuation_marker:
        return dict(CONTINUATION)
    return {}


def _result_json(
    observation: Observation, run_usage: RunUsage, inputs: ResultInputs, *, failed: bool = False
) -> JsonMap:
    """`resultJson`: the known fields of Claude's result, and the adapter's own, which no event can set.

    A failed run also has excerpts of its output.
    """
    transcript = observation.transcript
    usage_warnings = [run_usage.warning] if run_usage.warning is not None else []
    warnings = [
        *_copy_warnings(observation),
        *_delivery_warnings(observation, inputs.host_failures),
        *(session_warnings(inputs.session, observation.relay) if inputs.session else ()),
        *transcript.warnings,
        *_end_warnings(observation, is_success=not failed),
        *_workspace_warnings(observation, inputs),
        *usage_warnings,
    ]
    ours: JsonMap = {
        "containerExitCode": observation.exit_code,
        "session": session_fields(inputs.session, observation.relay) if inputs.session else None,
        "log": _log_fields(observation, inputs.host_failures),
        "phases": dict(observation.phases) or None,
        "workspace": observation.workspace.to_wire() if observation.workspace is not None else None,
        "warnings": [str(warning)[: LIMITS.text_chars] for warning in warnings[: LIMITS.warnings]] or None,
        "stdout": transcript.excerpt.decode("utf-8", "replace") or None if failed else None,
        "stderr": transcript.stderr_tail or None if failed else None,
    }
    known = fields_for_host(transcript.result or {})
    return known | {key: value for key, value in ours.items() if value is not None}


def _workspace_warnings(observation: Observation, inputs: ResultInputs) -> Iterator[RunWarning]:
    if inputs.repository_refused:
        yield RunWarning(WarningCode.WORKSPACE_NOT_CLONED, without_files(inputs.repository_refused))
    if observation.workspace is not None:
        yield from observation.workspace.warnings()


def _copy_warnings(observation: Observation) -> Iterator[RunWarning]:
    """Problems with the output's copy on the shared volume: those of its writer, then those of its reader."""
    if observation.relay is not None and observation.relay.copy_trouble:
        yield RunWarning(WarningCode.LOG_COPY_UNUSABLE, observation.relay.copy_trouble)
    if observation.log is not None and observation.log.file_trouble:
        yield RunWarning(WarningCode.LOG_COPY_UNUSABLE, describe_unusable_copy(observation.log.file_trouble))
    if observation.log is not None and observation.log.unproven:
        yield RunWarning(WarningCode.OUTPUT_UNPROVEN, describe_unproven_end(observation.log.unproven))


def _end_warnings(observation: Observation, *, is_success: bool) -> Iterator[RunWarning]:
    """What is odd about the end of the agent's container."""
    if observation.relay is not None and observation.relay.limit_hit:
        text = "the agent printed more than logSizeLimit and was stopped; the log may lack its last output"
        yield RunWarning(WarningCode.LOG_LIMIT, text)
    if isinstance(observation.ending, StoppedAfterResult):
        text = f"{StopReason.NO_EXIT.value} within {observation.ending.grace:g} s; it was stopped"
        yield RunWarning(WarningCode.AGENT_STOPPED, text)
    elif is_success and observation.exit_code:
        named = signal_name(observation.exit_code)
        text = f"the result is whole, but the agent's container ended with exit code {observation.exit_code}"
        yield RunWarning(WarningCode.EXIT_CODE, f"{text} ({named})" if named else text)


def _delivery_warnings(observation: Observation, lost: HostFailures) -> Iterator[RunWarning]:
    """Why the host may lack a part of the output although the cluster had it."""
    log = observation.log
    if log is not None and log.unread:
        text = f"the agent's log could not be read to its end: {log.unread}"
        yield RunWarning(WarningCode.LOG_UNREADABLE, text)
    if log is not None and log.first_sink_error is not None:
        bug = f"a bug in the adapter, {log.sink_failures} times: {error_text(log.first_sink_error)}"
        yield RunWarning(WarningCode.ADAPTER_BUG, f"{bug}; this result may not cover all of the output")
    if lost.chunks:
        text = f"the host's onLog raised for {lost.chunks} chunks ({lost.first_error}); its log lacks them"
        yield RunWarning(WarningCode.HOST_LOG_INCOMPLETE, text)


def with_host_failures(log: JsonMap, lost: HostFailures) -> JsonMap:
    """`resultJson.log`, which is complete only if the host accepted every chunk."""
    complete = False if lost.chunks else log["complete"]
    first = {"firstHostError": lost.first_error} if lost.chunks else {}
    return {**log, "complete": complete, "hostFailures": lost.chunks, **first}


def _log_fields(observation: Observation, lost: HostFailures) -> JsonMap | None:
    """`resultJson.log`; None if no log was read.

    `complete`: whether the host has every line; null if the relay's counts are unknown and no loss was found.
    `bytes` and `lines` count the stdout that was passed to the host, including chunks that it did not accept.
    """
    log = observation.log
    if log is None:
        return None
    gaps = [
        asdict(gap) | {"since": iso_from_nanos(gap.since), "until": iso_from_nanos(gap.until)}
        for gap in log.gaps
    ]
    counts: dict[str, Any] = {"bytes": log.bytes, "lines": log.lines, "reconnects": log.reconnects}
    return with_host_failures({"complete": log.complete, **counts, "gaps": gaps}, lost)


def billing_of(
    env_names: Collection[str], api_key_source: str, *, on_bedrock: bool
) -> tuple[BillingType, str]:
    """Billing type and biller.

    `api_key_source` is what the CLI reports; "none" means a login with a subscription. Without a report, an
    API key in the environment decides.
    """
    if on_bedrock:
        return "metered_api", "aws_bedrock"
    by_key = api_key_source not in {"", "none"} or (not api_key_source and "ANTHROPIC_API_KEY" in env_names)
    return ("api" if by_key else "subscription"), "anthropic"
