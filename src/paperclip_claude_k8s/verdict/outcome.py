"""Sighting → what it means: an ordered list of questions, the first with an answer decides (SPEC 8)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.claude.complaints import Classified, Complaint, classify, refused_session
from paperclip_claude_k8s.claude.failure_texts import (
    describe_claude_failure,
    describe_truncation_cause,
    empty_reply_text,
    exited_message,
    partial_run_message,
    pod_cause,
    truncated_message,
)
from paperclip_claude_k8s.claude.results import is_success
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.ending import (
    DeadlinePassed,
    Disrupted,
    JobGone,
    NotStarted,
    PodLost,
    Stopped,
    Untrackable,
)
from paperclip_claude_k8s.verdict.observation import Observation


@dataclass(frozen=True, slots=True)
class OutcomeInputs:
    """What of the plan and the moment a judgement needs. `timeout` in seconds, `now` an aware time."""

    now: datetime
    timeout: float = 0.0
    log_limit: str = ""
    resumed: bool | None = None
    """Whether the agent was to go on with an earlier session; None where nobody knows."""


_EARLIER_TURN = " — an earlier turn ended with a result; the turn after it did not"

Question = Callable[[Observation, OutcomeInputs], Failure | None]


def classify_end(seen: Observation, terms: OutcomeInputs) -> Failure | None:
    """The failure, or None for a success: a result at the run's end that tells of no error, whatever else."""
    result = seen.transcript.result
    questions = _WITHOUT_RESULT
    if result is not None:
        questions = _BEFORE_SUCCESS if is_success(result) else _BEFORE_SUCCESS + _WITH_RESULT
    return next((failure for ask in questions if (failure := ask(seen, terms)) is not None), None)


# ── asked of every run ───────────────────────────────────────────────────────────────────────────


def _not_started(seen: Observation, _: OutcomeInputs) -> Failure | None:
    return seen.ending.failure if isinstance(seen.ending, NotStarted) else None


def _untrackable(seen: Observation, _: OutcomeInputs) -> Failure | None:
    if not isinstance(seen.ending, Untrackable):
        return None
    return failures.job_state_mismatch(seen.facts.job, seen.ending.why)


def _timed_out(seen: Observation, terms: OutcomeInputs) -> Failure | None:
    return failures.timeout(terms.timeout) if isinstance(seen.ending, DeadlinePassed) else None


def _cancelled(seen: Observation, _: OutcomeInputs) -> Failure | None:
    return failures.cancelled(proven=seen.ending.proven) if isinstance(seen.ending, Stopped) else None


# ── asked of runs without a result ───────────────────────────────────────────────────────────────


def _session_refused(seen: Observation, _: OutcomeInputs) -> Failure | None:
    said = refused_session(seen.transcript)
    if not said:
        return None
    complaint = Classified(Complaint.SESSION_UNAVAILABLE, said)
    return failures.complained(complaint, f"Claude refused the session: {said}")


def _log_limit(seen: Observation, terms: OutcomeInputs) -> Failure | None:
    hit = seen.relay is not None and seen.relay.limit_hit
    return failures.log_limit_exceeded(terms.log_limit) if hit else None


def _deleted(seen: Observation, _: OutcomeInputs) -> Failure | None:
    if not isinstance(seen.ending, JobGone):
        return None
    return failures.job_deleted_externally(_forensics(seen, seen.ending.seen_by))


def _pod_lost(seen: Observation, _: OutcomeInputs) -> Failure | None:
    return seen.ending.failure if isinstance(seen.ending, PodLost) else None


def _disrupted(seen: Observation, _: OutcomeInputs) -> Failure | None:
    end = seen.ending
    if not isinstance(end, Disrupted):
        return None
    return failures.pod_disrupted(end.pod, end.reason, end.words, started=True)


def _empty_reply(seen: Observation, _: OutcomeInputs) -> Failure | None:
    if not seen.transcript.empty_reply:
        return None
    return failures.empty_reply(empty_reply_text(seen.transcript.stop_reason))


def _truncated(seen: Observation, _: OutcomeInputs) -> Failure | None:
    if not seen.transcript.cut_short:
        return None
    cause = describe_truncation_cause(_end(seen), pod_missing=seen.facts.pod_gone, phase=seen.facts.pod_phase)
    message = truncated_message(seen.transcript.model, cause)
    return failures.truncated(f"{message}{_EARLIER_TURN}" if seen.transcript.overtaken else message)


def _partial(seen: Observation, _: OutcomeInputs) -> Failure | None:
    told = seen.transcript
    init = bool(told.init_model)
    words = told.first_plain_line or told.stderr_tail.strip().partition("\n")[0]
    message = partial_run_message(seen.exit_code, told.init_model, words, started=told.lines > 0, init=init)
    if seen.exit_code != 0:
        message += pod_cause(_end(seen))
    return failures.init_failed(message) if init and not words else failures.no_result(message)


def _end(seen: Observation) -> Terminated | None:
    """How the container ended, in words of its own: the relay's summary is not the agent's message."""
    how = seen.terminated
    if how is None:
        return None
    return Terminated(how.exit_code, how.reason, seen.termination_message, how.signal)


def _forensics(seen: Observation, seen_by: str) -> str:
    """What tells a TTL, a self-delete and a stranger apart without a look at the cluster."""
    facts = seen.facts
    told = ",".join(f"{c.type}={c.status}" + (f"({c.reason})" if c.reason else "") for c in facts.conditions)
    parts = [f"detected_via={seen_by}", f"job={facts.job}", f"ns={facts.namespace}"]
    if facts.seconds_running is not None:
        parts.append(f"elapsed_since_pod_running={facts.seconds_running:.0f}s")
    parts.append(f"last_job_conditions=[{told}]" if told else "last_job_conditions=none_observed")
    parts.append(f"stdout_bytes={seen.transcript.bytes}")
    parts.append(f"stdout_nonempty_lines={seen.transcript.lines}")
    return ", ".join(parts)


# ── asked of a result that is no success ─────────────────────────────────────────────────────────


def _complaint(seen: Observation, terms: OutcomeInputs) -> Failure | None:
    result = seen.transcript.result
    if result is None:
        return None
    message = describe_claude_failure(result) or exited_message(seen.exit_code)
    said = classify(seen.transcript, terms.now)
    return failures.complained(said, message, resumed=terms.resumed is True)


_BEFORE_SUCCESS: tuple[Question, ...] = (_not_started, _untrackable, _timed_out, _cancelled)
_WITH_RESULT: tuple[Question, ...] = (_complaint,)
_WITHOUT_RESULT: tuple[Question, ...] = (
    *_BEFORE_SUCCESS,
    _session_refused,
    _log_limit,
    _deleted,
    _disrupted,
    _pod_lost,
    _empty_reply,
    _truncated,
    _partial,
)
