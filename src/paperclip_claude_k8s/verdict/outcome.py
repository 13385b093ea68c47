"""Which failure, if any, an observed run ended with.

The rules are tried in order, and the first that returns a failure decides. First come the endings for which
the agent's output does not matter: never started, end not observed, timed out, cancelled. Then a successful
result decides, even if, for example, the Pod was deleted afterwards. A failed result is classified by
`claude.classification`. Without a result, the most specific explanation comes first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude.classification import (
    ClassifiedFailure,
    FailureClass,
    classify,
    refused_session,
)
from paperclip_claude_k8s.claude.failure_texts import (
    crash_line,
    describe_claude_failure,
    describe_truncation_cause,
    empty_reply_text,
    exit_step,
    exited_message,
    no_answer_message,
    no_result_message,
    pod_cause,
    quoted_line,
    retrying_text,
    truncated_message,
)
from paperclip_claude_k8s.claude.results import is_success
from paperclip_claude_k8s.claude.transcript import Transcript
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Disrupted,
    JobGone,
    NotStarted,
    OverBudget,
    PodLost,
    Stopped,
    Untrackable,
)
from paperclip_claude_k8s.verdict.not_executable import (
    COMPLETE_IMAGE_STEP,
    NOT_EXECUTABLE_CODE,
    NOT_FOUND_CODE,
    RUNTIME_ERRORS,
    why_not_executable,
)
from paperclip_claude_k8s.verdict.observation import Observation


@dataclass(frozen=True, slots=True)
class OutcomeInputs:
    """What the classification needs besides the observation. `timeout`: seconds; `now`: with a time zone."""

    now: datetime
    timeout: float = 0.0
    log_limit: str = ""
    """The setting `logSizeLimit`, for the message."""
    resumed: bool | None = None
    """Whether the run resumed a session; None if unknown."""
    is_retry: bool = False
    """Whether this run is the host's retry of a failed run. A continuation after `max_turns` is no retry."""
    recorded: bool = False
    """The output is replayed from a recording: the agent ended at an unknown time before `now`."""


_NOTHING_MORE = "end_turn"
"""The `stop_reason` of a message after which the model has nothing more to say."""
_EARLIER_TURN = " — an earlier turn ended with a result, but the turn after it did not"

Rule = Callable[[Observation, OutcomeInputs], Failure | None]


def classify_end(observation: Observation, inputs: OutcomeInputs) -> Failure | None:
    """The failure, or None for a success: a run whose last result reports no error."""
    result = observation.transcript.result
    rules = _WITHOUT_RESULT
    if result is not None:
        rules = _OUTWEIGHING_SUCCESS if is_success(result) else _OUTWEIGHING_SUCCESS + _WITH_RESULT
    failure = next((failure for rule in rules if (failure := rule(observation, inputs)) is not None), None)
    retrying = observation.transcript.retrying
    if failure is None or not retrying or isinstance(observation.ending, (NotStarted, Stopped)):
        return failure
    return replace(failure, what=f"{failure.what}{retrying_text(retrying)}")


# ── the rules for every run ────────────────────────────────────────────────────────────────────────


def _cancelled_by_person(observation: Observation, _: OutcomeInputs) -> Failure | None:
    """The failure of a run that a person cancelled by `claude-k8s cancel`.

    None if the agent exited with 0: then it had finished before it was stopped.
    """
    match observation.ending:
        case JobGone(terminated=end, cancelled_by=person) if person and (end is None or end.exit_code != 0):
            return failures.cancelled(proven=observation.known.pod_gone, by=person)
        case _:
            return None


def _outweighs_result(observation: Observation, inputs: OutcomeInputs) -> Failure | None:
    """The failure of an ending that counts even if the agent printed a result."""
    match observation.ending:
        case NotStarted(failure):
            return failure
        case Untrackable(why):
            return failures.job_state_mismatch(observation.facts.job, why)
        case DeadlinePassed():
            return failures.timeout(inputs.timeout)
        case OverBudget(cost, limit):
            return failures.over_budget(cost, limit)
        case Stopped(proven):
            return failures.cancelled(proven=proven)
        case _:
            return None


# ── rules for runs without a result ───────────────────────────────────────────────────────────────


def _session_refused(observation: Observation, _: OutcomeInputs) -> Failure | None:
    refusal = refused_session(observation.transcript)
    if not refusal:
        return None
    classified = ClassifiedFailure(FailureClass.SESSION_UNAVAILABLE, refusal)
    return failures.reported_by_claude(classified, f"Claude refused the session: {refusal}")


def _log_limit(observation: Observation, inputs: OutcomeInputs) -> Failure | None:
    hit = observation.relay is not None and observation.relay.limit_hit
    return failures.log_limit_exceeded(inputs.log_limit) if hit else None


def _files_changed(observation: Observation, _: OutcomeInputs) -> Failure | None:
    changed = observation.relay.changed if observation.relay is not None else None
    return failures.files_changed(changed) if changed is not None else None


def _taken_away(observation: Observation, _: OutcomeInputs) -> Failure | None:
    match observation.ending:
        case JobGone(seen_by):
            finished = any(
                c.type in {"Complete", "Failed"} and c.is_true for c in observation.facts.conditions
            )
            return failures.job_deleted_externally(_deletion_facts(observation, seen_by), finished=finished)
        case Disrupted(pod, reason, details):
            return failures.pod_disrupted(pod, reason, details, started=True)
        case PodLost(failure):
            return failure
        case _:
            return None


def _empty_reply(observation: Observation, _: OutcomeInputs) -> Failure | None:
    if not observation.transcript.empty_reply:
        return None
    return failures.empty_reply(empty_reply_text(observation.transcript.stop_reason))


def _truncated(observation: Observation, _: OutcomeInputs) -> Failure | None:
    if not observation.transcript.cut_short:
        return None
    transcript, stop_reason = observation.transcript, observation.transcript.stop_reason
    if stop_reason == _NOTHING_MORE and observation.exit_code == 0 and not transcript.torn_event:
        return failures.no_result(no_result_message(stop_reason))
    cause = describe_truncation_cause(
        _terminated(observation), pod_missing=observation.facts.pod_gone, phase=observation.facts.pod_phase
    )
    if crash := crash_line(_plain_lines(transcript)):
        cause = f"{cause}: {crash}"
    message = truncated_message(transcript.model, cause, transcript.torn_event)
    message += _EARLIER_TURN if transcript.overtaken else ""
    return failures.truncated(message, _next_step(observation))


def _not_executable(observation: Observation, _: OutcomeInputs) -> Failure | None:
    """If a program cannot be executed, a shell says so by exit code and text, a runtime only by text."""
    transcript, exit_code = observation.transcript, observation.exit_code
    if transcript.init_model or exit_code == 0:
        return None
    by_shell = exit_code in {NOT_FOUND_CODE, NOT_EXECUTABLE_CODE}
    lines = [*transcript.stderr_tail.split("\n"), *transcript.plain_lines]
    lines += observation.termination_message.split("\n")
    found = why_not_executable(line for line in lines if by_shell or line.startswith(RUNTIME_ERRORS))
    if found is None and not by_shell:
        return None
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    line, why = found or (last, "a program was not found, or may not be executed")
    message = no_answer_message(
        exit_code, model="", plain_line=line, started=transcript.lines > 0, init=False
    )
    return failures.no_result(message, f"{why}; {COMPLETE_IMAGE_STEP}")


def _no_answer(observation: Observation, _: OutcomeInputs) -> Failure | None:
    transcript, exit_code = observation.transcript, observation.exit_code
    model, started = transcript.init_model, transcript.lines > 0
    text = quoted_line(_plain_lines(transcript), exit_code)
    message = no_answer_message(exit_code, model, text, started=started, init=bool(model))
    message += pod_cause(exit_code, _terminated(observation))
    build = failures.init_failed if model and not text else failures.no_result
    return build(message, _next_step(observation))


def _next_step(observation: Observation) -> str:
    """The next step after the container's end; "" if none is known.

    The exit code does not matter after `OOMKilled`: the kernel may have killed only a child process.
    """
    terminated = observation.terminated
    if terminated is None or terminated.reason != "OOMKilled":
        return exit_step(observation.exit_code)
    return (
        "the memory limit was exceeded: raise `resources.limits.memory`, or give the agent less to do at once"
    )


def _plain_lines(transcript: Transcript) -> tuple[str, ...]:
    return (*transcript.plain_lines, *transcript.stderr_tail.split("\n"))


def _terminated(observation: Observation) -> Terminated | None:
    """How the container ended, without the relay's summary, which is not a message of the agent."""
    end = observation.terminated
    if end is None:
        return None
    return Terminated(end.exit_code, end.reason, observation.termination_message, end.signal)


def _deletion_facts(observation: Observation, seen_by: str) -> str:
    """Facts that distinguish an expired TTL, a deletion by the agent, and any other deletion."""
    facts = observation.facts
    conditions = ",".join(
        f"{c.type}={c.status}" + (f"({c.reason})" if c.reason else "") for c in facts.conditions
    )
    parts = [f"detected_via={seen_by}", f"job={facts.job}", f"ns={facts.namespace}"]
    if facts.seconds_running is not None:
        parts.append(f"elapsed_since_pod_running={facts.seconds_running:.0f}s")
    parts.append(f"last_job_conditions=[{conditions}]" if conditions else "last_job_conditions=none_observed")
    parts.append(f"stdout_bytes={observation.transcript.bytes}")
    parts.append(f"stdout_nonempty_lines={observation.transcript.lines}")
    return ", ".join(parts)


# ── the rule for a result that reports an error ─────────────────────────────────────────────────────────


def _failed_result(observation: Observation, inputs: OutcomeInputs) -> Failure | None:
    result = observation.transcript.result
    if result is None:
        return None
    message = describe_claude_failure(result) or exited_message(observation.exit_code)
    classified = classify(observation.transcript, inputs.now, recorded=inputs.recorded)
    if classified.failure_class is FailureClass.EMPTY_REPLY and "stop_reason" not in message:
        message = f"{message} (stop_reason: {result.get('stop_reason') or 'null'})"
    # The host has one counter for continuations of `max_turns_exhausted` and one for other retries, and each
    # kind resets the other's counter. Retries with that code could
    # alternate with continuations for ever.
    if classified.failure_class is FailureClass.MAX_TURNS and inputs.is_retry:
        return failures.max_turns_again(message)
    return failures.reported_by_claude(classified, message, resumed=inputs.resumed is True)


_OUTWEIGHING_SUCCESS: tuple[Rule, ...] = (_cancelled_by_person, _outweighs_result)
_WITH_RESULT: tuple[Rule, ...] = (_failed_result,)
_WITHOUT_RESULT: tuple[Rule, ...] = (
    # From certain causes to guesses: the last rule always returns a failure.
    *_OUTWEIGHING_SUCCESS,
    _files_changed,
    _session_refused,
    _log_limit,
    _taken_away,
    _empty_reply,
    _truncated,
    _not_executable,
    _no_answer,
)
