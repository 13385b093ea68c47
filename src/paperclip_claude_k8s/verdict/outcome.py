"""Sighting → what it means: an ordered list of questions, the first with an answer decides (SPEC 8)."""

from collections.abc import Callable

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.failures import Failure
from paperclip_claude_k8s.verdict.ending import DeadlinePassed, Disrupted, JobGone, NotStarted, Stopped
from paperclip_claude_k8s.verdict.sighting import Sighting

Question = Callable[[Sighting, float], Failure | None]


def weigh(seen: Sighting, timeout_sec: float) -> Failure | None:
    """None is a success."""
    for question in _FIRST:
        if (failure := question(seen, timeout_sec)) is not None:
            return failure
    result = seen.transcript.result
    if result is not None and not result.get("is_error") and result.get("subtype") == "success":
        return None
    for question in _WITH_RESULT if result is not None else _WITHOUT_RESULT:
        if (failure := question(seen, timeout_sec)) is not None:
            return failure
    raise AssertionError("the last question always has an answer")


def _not_started(seen: Sighting, _: float) -> Failure | None:
    return seen.ending.failure if isinstance(seen.ending, NotStarted) else None


def _timed_out(seen: Sighting, timeout_sec: float) -> Failure | None:
    return failures.timeout(timeout_sec) if isinstance(seen.ending, DeadlinePassed) else None


def _cancelled(seen: Sighting, _: float) -> Failure | None:
    return failures.cancelled(proven=seen.ending.proven) if isinstance(seen.ending, Stopped) else None


def _log_limit(seen: Sighting, _: float) -> Failure | None:
    hit = seen.relay is not None and seen.relay.limit_hit
    return failures.log_limit_exceeded("") if hit else None


def _deleted(seen: Sighting, _: float) -> Failure | None:
    if not isinstance(seen.ending, JobGone):
        return None
    return failures.job_deleted_externally(_forensics(seen, seen.ending.seen_by))


def _forensics(seen: Sighting, seen_by: str) -> str:
    facts = seen.facts
    told = ",".join(f"{c.type}={c.status}" + (f"({c.reason})" if c.reason else "") for c in facts.conditions)
    parts = [f"detected_via={seen_by}", f"job={facts.job}", f"ns={facts.namespace}"]
    if facts.seconds_running is not None:
        parts.append(f"elapsed_since_pod_running={facts.seconds_running:.0f}s")
    parts.append(f"last_job_conditions=[{told}]" if told else "last_job_conditions=none_observed")
    parts.append(f"stdout_bytes={seen.transcript.bytes}")
    parts.append(f"stdout_nonempty_lines={seen.transcript.lines}")
    return ", ".join(parts)


def _disrupted(seen: Sighting, _: float) -> Failure | None:
    end = seen.ending
    if not isinstance(end, Disrupted):
        return None
    return failures.pod_disrupted(end.pod, end.reason, end.words, started=True)


def _no_result(seen: Sighting, _: float) -> Failure | None:
    return failures.no_result(f"Claude exited with code {seen.exit_code}: {seen.transcript.first_plain_line}")


def _error_result(seen: Sighting, _: float) -> Failure | None:
    result = seen.transcript.result or {}
    return failures.claude_failed(
        f"Claude run failed: subtype={result.get('subtype')}: {result.get('result')}"
    )


_FIRST: tuple[Question, ...] = (_not_started, _timed_out, _cancelled)
_WITHOUT_RESULT: tuple[Question, ...] = (_log_limit, _deleted, _disrupted, _no_result)
_WITH_RESULT: tuple[Question, ...] = (_error_result,)
