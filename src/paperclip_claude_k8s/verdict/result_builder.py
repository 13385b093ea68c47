"""Outcome → what the host hears (SPEC 8, HOST.md 4)."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from paperclip_claude_k8s.base.times import format_time
from paperclip_claude_k8s.claude.accounting import RunUsage
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.result import BillingType, ExecutionResult, Usage
from paperclip_claude_k8s.verdict.ending import StoppedAfterResult, StopReason
from paperclip_claude_k8s.verdict.observation import Observation
from paperclip_claude_k8s.verdict.wording import error_text, iso_from_nanos, unusable_copy

CONTINUATION = {"conversationContinuation": "continue_conversation_v1"}
"""An internal of today's host (HOST.md 4.3): with it, comments wake the agent after a failure."""


@dataclass(frozen=True, slots=True)
class HostFailures:
    """Chunks that the host's `onLog` did not take, since it raised; the first error as text, masked."""

    chunks: int = 0
    first_error: str = ""

    def and_one(self, error: str) -> "HostFailures":
        return HostFailures(self.chunks + 1, self.first_error or error)


@dataclass(frozen=True, slots=True)
class ResultInputs:
    """What of the plan the answer needs."""

    now: datetime
    model: str = ""
    session_params: JsonMap = field(default_factory=dict)
    """Stored beside the session id: cwd, workspace, repository, bundle key, MCP identity."""
    billing: BillingType | None = None
    biller: str | None = None
    continuation_marker: bool = True
    clear_session: bool = False
    resumed: bool | None = None
    """Whether the agent was to go on with an earlier session; None where nobody knows."""
    earlier: RunUsage | None = None
    """What an attempt before this one used, inside the same run."""
    host_failures: HostFailures = field(default_factory=HostFailures)


def build_result(failure: Failure | None, seen: Observation, asked: ResultInputs) -> ExecutionResult:
    """The whole answer: what happened, and all that was learnt before it did."""
    own = seen.transcript.reported_usage.for_run(resumed=asked.resumed).with_earlier(asked.earlier)
    learnt = _learnt(seen, own, asked)
    if failure is None:
        return ExecutionResult(exit_code=0, **learnt, result_json=_json(seen, own, asked))
    extra = _json(seen, own, asked, with_output=True)
    return ExecutionResult(**learnt | _failed(failure, asked, extra, seen.exit_code))


def early_failure(failure: Failure, asked: ResultInputs) -> ExecutionResult:
    """The answer of a run that ended before there was anything to see."""
    return ExecutionResult(**_failed(failure, asked, {}, None))


def _learnt(seen: Observation, own: RunUsage, asked: ResultInputs) -> JsonMap:
    told, usage = seen.transcript, own.usage
    known: JsonMap = {
        "provider": "anthropic",
        "biller": asked.biller,
        "billing_type": asked.billing,
        "model": told.model or asked.model or None,
        "summary": told.summary or None,
        "cost_usd": own.cost_usd,
        "usage": usage
        and Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
        ),
        "clear_session": asked.clear_session or None,
        **_session(told.session_id, asked),
    }
    return {key: value for key, value in known.items() if value is not None}


def _session(session_id: str | None, asked: ResultInputs) -> JsonMap:
    if session_id is None:
        return {}
    return {
        "session_id": session_id,
        "session_display_id": session_id,
        "session_params": {"sessionId": session_id, **asked.session_params},
    }


def _failed(failure: Failure, asked: ResultInputs, extra: JsonMap, exit_code: int | None) -> JsonMap:
    stopped = failure.evidence == "interrupted"
    fields: JsonMap = {
        "exit_code": None if stopped else exit_code,
        "signal": "SIGTERM" if stopped else None,
        "timed_out": failure.code == "timeout",
        "error_message": failure.message,
        "error_code": str(failure.code),
        "error_family": failure.family,
        "retry_not_before": failure.retry_not_before,
        "error_meta": failure.meta or None,
        "execution_recovery": _recovery(failure),
        "clear_session": failure.clear_session or None,
        "result_json": extra | _evidence(failure, asked),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _recovery(failure: Failure) -> JsonMap | None:
    """HOST.md 4.2: what the host may conclude without asking anybody."""
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


def _evidence(failure: Failure, asked: ResultInputs) -> JsonMap:
    if failure.evidence == "interrupted":
        acknowledged = {"state": "acknowledged", "acknowledgedAt": format_time(asked.now), "forced": False}
        return {"executionCancellation": acknowledged}
    if failure.evidence == "continuation" and asked.continuation_marker:
        return dict(CONTINUATION)
    return {}


def _json(seen: Observation, own: RunUsage, asked: ResultInputs, *, with_output: bool = False) -> JsonMap:
    """The result event as the CLI printed it, and beside it what the adapter knows."""
    told = seen.transcript
    of_run = (*told.warnings, *_stopped(seen), own.warning)
    warnings = [*filter(None, of_run), *_copy_warnings(seen), *_untaken(seen, asked.host_failures)]
    ours: JsonMap = {
        "containerExitCode": seen.exit_code,
        "log": _log(seen, asked.host_failures),
        "phases": dict(seen.phases) or None,
        "warnings": warnings or None,
        "stdout": told.excerpt.decode("utf-8", "replace") or None if with_output else None,
        "stderr": told.stderr_tail or None if with_output else None,
    }
    return {**(told.result or {}), **{key: value for key, value in ours.items() if value is not None}}


def _copy_warnings(seen: Observation) -> Iterator[str]:
    """What is wrong with the copy of the output on the shared volume, as the relay and our reader say."""
    if seen.relay is not None and seen.relay.copy_trouble:
        yield seen.relay.copy_trouble
    if seen.log is not None and seen.log.file_trouble:
        yield unusable_copy(seen.log.file_trouble)


def _stopped(seen: Observation) -> Iterator[str]:
    if isinstance(seen.ending, StoppedAfterResult):
        yield f"{StopReason.NO_EXIT.value} within {seen.ending.grace:g} s; it was stopped"


def _untaken(seen: Observation, host: HostFailures) -> Iterator[str]:
    if seen.log is not None and seen.log.first_sink_error is not None:
        what = (
            f"a bug in the adapter, {seen.log.sink_failures} times: {error_text(seen.log.first_sink_error)}"
        )
        yield f"{what}; what this result says of the output may lack something"
    if host.chunks:
        yield f"the host's onLog raised for {host.chunks} chunks ({host.first_error}); its log lacks them"


def with_host_failures(log: JsonMap, host: HostFailures) -> JsonMap:
    """`resultJson.log`, which is complete only where the host took every chunk."""
    complete = False if host.chunks else log["complete"]
    first = {"firstHostError": host.first_error} if host.chunks else {}
    return {**log, "complete": complete, "hostFailures": host.chunks, **first}


def _log(seen: Observation, host: HostFailures) -> JsonMap | None:
    """Whether the host has every line: proven by the relay's counts, refuted, or not known (null).

    `bytes` and `lines` are those of stdout that were handed on, taken or not.
    """
    log = seen.log
    if log is None:
        return None
    gaps = [
        asdict(gap) | {"since": iso_from_nanos(gap.since), "until": iso_from_nanos(gap.until)}
        for gap in log.gaps
    ]
    counts: dict[str, Any] = {"bytes": log.bytes, "lines": log.lines, "reconnects": log.reconnects}
    return with_host_failures({"complete": log.complete, **counts, "gaps": gaps}, host)


def billing_of(
    env_names: Collection[str], api_key_source: str, *, on_bedrock: bool
) -> tuple[BillingType, str]:
    """Billing type and biller. The CLI's own word on its key's source counts most; "none" is a login."""
    if on_bedrock:
        return "metered_api", "aws_bedrock"
    by_key = api_key_source not in {"", "none"} or (not api_key_source and "ANTHROPIC_API_KEY" in env_names)
    return ("api" if by_key else "subscription"), "anthropic"
