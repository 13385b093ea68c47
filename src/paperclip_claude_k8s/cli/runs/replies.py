"""What `run` and its companions say: statuses, error names, exit codes. Wire names are snake_case."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from paperclip_claude_k8s.cli.codes import DONE, FAILED, RUNNING

Answer: TypeAlias = dict[str, Any]
"""The one JSON object that ends stdout."""
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

DETACHED_TTL = 86400
"""Seconds that a finished Job waits for the call that names its run."""


RunStatus = Literal["not_submitted", "unknown", "polling", "succeeded", "failed", "cancelled"]
"""What became of the run itself, where the call about it failed; unknown: whether it has a Job."""
CUT_SHORT: frozenset[Error] = frozenset({"poll_timeout", "poll_aborted"})
"""The call was ended; the run may have come to its own end meanwhile, and then that is the answer."""
UNWRITABLE: frozenset[Error] = frozenset({"state_unwritable", "output_unwritable"})
"""Something could not be written down: whatever the run did, the call has failed, and says both."""


class Stop(Exception):
    """The call cannot go on; what it answers. `more` are further keys of the answer."""

    def __init__(self, error: Error, detail: str, **more: Any) -> None:  # noqa: ANN401  # any JSON
        super().__init__(detail)
        self.error: Error = error
        self.detail = detail
        self.more = more
        self.outcome: Answer | None = None
        """The run's own answer, where it has ended and this is known."""
        self.run_status: RunStatus | None = None
        """None: whoever tells of it has to look."""

    def about(self, run_status: RunStatus, outcome: Answer | None = None) -> "Stop":
        """The same, knowing what became of the run; what was known before stays."""
        self.run_status = self.run_status or run_status
        self.outcome = self.outcome or outcome
        return self


def stop_within(error: BaseException) -> Stop | None:
    """The first `Stop` of a task group's errors, where all of them are such."""
    if isinstance(error, Stop):
        return error
    if not isinstance(error, BaseExceptionGroup) or error.split(Stop)[1] is not None:
        return None
    return stop_within(error.exceptions[0])


def failure(error: Error, detail: str, run_id: str | None = None, **more: Any) -> Answer:  # noqa: ANN401
    """`run_id` is left out where there is none."""
    status: Status = "cancelled" if error == "cancelled" else "failed"
    known = {"run_id": run_id} if run_id is not None else {}
    return {**known, "status": status, "error": error, "detail": detail, **more}


def resumable(answer: Answer) -> Answer:
    """With the command that goes on where this one stopped."""
    return {**answer, "resume": resume_command(str(answer["run_id"]))}


def resume_command(run_id: str) -> str:
    return f"claude-k8s run --run-id {run_id}"


def outcome_of(run_id: str, result: Mapping[str, Any]) -> Answer:
    """What a result of `execute`, in the host's wire names, makes of the run."""
    if result.get("errorMessage") is None:
        return {"run_id": run_id, "status": "succeeded", "result": dict(result)}
    error: Error = "cancelled" if result.get("errorCode") == "cancelled" else "task_failed"
    told = failure(error, str(result["errorMessage"]), run_id)
    return {**told, "error_code": result.get("errorCode"), "result": dict(result)}


def unwritten(stop: Stop, run_id: str | None) -> Answer:
    """The answer where state or output could not be written, with the run's own outcome in it."""
    outcome = stop.outcome or {}
    became: RunStatus = outcome.get("status") or stop.run_status or "unknown"
    why = f"{stop.detail}; {_BECAME[became]}"
    if outcome.get("detail"):
        why = f"{why}: {outcome['detail']}"
    more = {key: value for key, value in stop.more.items() if key != "run_id"}
    told = {key: outcome[key] for key in ("error_code", "result") if key in outcome}
    return failure(stop.error, why, run_id, **more, run_status=became, **told)


GOES_ON = "the Job goes on, make room and resume"
_BECAME: Mapping[RunStatus, str] = {
    "not_submitted": "nothing was submitted",
    "unknown": "whether the run has a Job is not known here",
    "polling": GOES_ON,
    "succeeded": "the run itself succeeded, and `result` is its result",
    "failed": "the run itself failed",
    "cancelled": "the run itself was cancelled",
}


def exit_code(answer: Answer) -> int:
    return {"succeeded": DONE, "polling": RUNNING}.get(str(answer.get("status")), FAILED)
