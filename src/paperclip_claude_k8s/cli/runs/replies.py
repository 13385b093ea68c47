"""The answers of `run` and the commands around it: statuses, error names, exit codes. Keys are snake_case."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from paperclip_claude_k8s.cli.entry import DONE, FAILED, RUNNING

Answer: TypeAlias = dict[str, Any]
"""The JSON object on stdout."""
Status = Literal["polling", "succeeded", "failed", "cancelled"]
Error = Literal[
    "usage",
    "unknown_run",
    "record_unreadable",
    "other_cluster",
    "state_unwritable",
    "output_unwritable",
    "poll_timeout",
    "poll_aborted",
    "task_failed",
    "result_lost",
    "cancelled",
    "membership_required",
    "credit_required",
    "consume_param_error",
    "internal",
]
RunStatus = Literal["not_submitted", "unknown", "polling", "succeeded", "failed", "cancelled"]
"""State of the run itself if the call about it failed. unknown: the run may or may not have a Job."""

DETACHED_TTL = 86400
"""Seconds that a finished Job is kept for a later call to collect its result."""
CUT_SHORT: frozenset[Error] = frozenset({"poll_timeout", "poll_aborted"})
"""The call ended early. If the run has ended in the meantime, its own answer is returned instead."""
UNWRITABLE: frozenset[Error] = frozenset({"state_unwritable", "output_unwritable"})
"""A file could not be written: the call has failed even if the run succeeded. Its answer has both facts."""
RUN_CONTINUES = "the run continues"
JOB_CONTINUES = "the Job keeps running: make room and resume"
_RUN_STATUS_TEXT: Mapping[RunStatus, str] = {
    "not_submitted": "nothing was submitted",
    "unknown": "it is not known whether the run has a Job",
    "polling": JOB_CONTINUES,
    "succeeded": "the run itself succeeded, and `result` is its result",
    "failed": "the run itself failed",
    "cancelled": "the run itself was cancelled",
}


class Stop(Exception):
    """The call cannot continue. Contains what its answer says; `more` are further keys of that answer."""

    def __init__(self, error: Error, detail: str, **more: Any) -> None:  # noqa: ANN401  # any JSON
        super().__init__(detail)
        self.error: Error = error
        self.detail = detail
        self.more = more
        self.outcome: Answer | None = None
        """The run's own answer, if the run has ended and this is known."""
        self.run_status: RunStatus | None = None
        """None: not known yet; the code that builds the answer reads the record."""

    def about(self, run_status: RunStatus, outcome: Answer | None = None) -> "Stop":
        """Add what is known of the run, and return self. Values that were set earlier are kept."""
        self.run_status = self.run_status or run_status
        self.outcome = self.outcome or outcome
        return self


def find_stop(error: BaseException) -> Stop | None:
    """The first `Stop` in a task group's exception; None if the group contains any other exception."""
    if isinstance(error, Stop):
        return error
    if not isinstance(error, BaseExceptionGroup) or error.split(Stop)[1] is not None:
        return None
    return find_stop(error.exceptions[0])


def failure(error: Error, detail: str, run_id: str | None = None, **more: Any) -> Answer:  # noqa: ANN401
    """The answer of a failed call or run. Without `run_id` it has no such key."""
    status: Status = "cancelled" if error == "cancelled" else "failed"
    run = {"run_id": run_id} if run_id is not None else {}
    return {**run, "status": status, "error": error, "detail": detail, **more}


def resumable(answer: Answer) -> Answer:
    """The answer with the command that continues from here, as `resume`."""
    return {**answer, "resume": resume_command(str(answer["run_id"]))}


def resume_command(run_id: str) -> str:
    return f"claude-k8s run --run-id {run_id}"


def outcome_of(run_id: str, result: Mapping[str, Any]) -> Answer:
    """The run's answer, from the result of `execute` in wire format."""
    if result.get("errorMessage") is None:
        return {"run_id": run_id, "status": "succeeded", "result": dict(result)}
    error: Error = "cancelled" if result.get("errorCode") == "cancelled" else "task_failed"
    answer = failure(error, str(result["errorMessage"]), run_id)
    return {**answer, "error_code": result.get("errorCode"), "result": dict(result)}


def unwritable_answer(stop: Stop, run_id: str | None) -> Answer:
    """The answer if the state or --output could not be written, including the run's own outcome."""
    outcome = stop.outcome or {}
    run_status: RunStatus = outcome.get("status") or stop.run_status or "unknown"
    detail = f"{stop.detail}; {_RUN_STATUS_TEXT[run_status]}"
    if outcome.get("detail"):
        detail = f"{detail}: {outcome['detail']}"
    more = {key: value for key, value in stop.more.items() if key != "run_id"}
    result = {key: outcome[key] for key in ("error_code", "result") if key in outcome}
    return failure(stop.error, detail, run_id, **more, run_status=run_status, **result)


def exit_code(answer: Answer) -> int:
    return {"succeeded": DONE, "polling": RUNNING}.get(str(answer.get("status")), FAILED)
