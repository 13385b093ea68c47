"""The replies of `run` and related commands: their statuses, error names and exit codes."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from paperclip_claude_k8s.cli.entry import DONE, FAILED, RUNNING, ReportedError

Reply: TypeAlias = dict[str, Any]
"""The JSON object that a command prints on stdout, with keys in snake_case."""
Status = Literal["polling", "succeeded", "failed", "cancelled"]
Error = Literal[
    "usage",
    "unknown_run",
    "ambiguous_run",
    "record_unreadable",
    "other_cluster",
    "state_unwritable",
    "output_unwritable",
    "poll_timeout",
    "poll_aborted",
    "cluster_unreachable",
    "task_failed",
    "result_lost",
    "cancelled",
    "membership_required",
    "credit_required",
    "consume_param_error",
    "internal",
]
RunStatus = Literal["not_submitted", "unknown", "polling", "succeeded", "failed", "cancelled"]
"""State of the run itself, in the reply of a failed call. unknown: the run may or may not have a Job."""

DETACHED_TTL = 86400
"""Seconds that a finished Job is kept for a later call to collect its result."""
CUT_SHORT: frozenset[Error] = frozenset({"poll_timeout", "poll_aborted"})
"""Errors of calls that ended early. If the run has ended meanwhile, its outcome is returned instead."""
UNWRITABLE: frozenset[Error] = frozenset({"state_unwritable", "output_unwritable"})
"""Errors of calls that could not write a file. Such a call has failed even if the run succeeded."""
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


class Stop(ReportedError):
    """The call cannot continue. Contains the error of its reply, and further `fields` of that reply."""

    def __init__(self, error: Error, detail: str, **fields: Any) -> None:  # noqa: ANN401  # any JSON
        super().__init__(detail)
        self.error: Error = error
        self.fields = fields
        self.outcome: Reply | None = None
        """The run's outcome, if the run has ended and this is known."""
        self.run_status: RunStatus | None = None
        """None if not known yet: the code that builds the reply takes it from the record."""

    def with_run_status(self, run_status: RunStatus, outcome: Reply | None = None) -> "Stop":
        """Add what is known of the run, and return self. Values that were set earlier are kept."""
        self.run_status = self.run_status or run_status
        self.outcome = self.outcome or outcome
        return self

    def reply(self, run_id: str) -> Reply:
        """The outcome of a run that cannot continue for this reason."""
        return failure(self.error, self.detail, run_id, **self.fields)


def find_stop(error: BaseException) -> Stop | None:
    """The first `Stop` in a task group's exception; None if the group contains any other exception."""
    if isinstance(error, Stop):
        return error
    if not isinstance(error, BaseExceptionGroup) or error.split(Stop)[1] is not None:
        return None
    return find_stop(error.exceptions[0])


def cluster_unreachable(reason: str, **fields: Any) -> Stop:  # noqa: ANN401  # any JSON
    """The `Stop` of a call whose API server cannot be reached."""
    return Stop("cluster_unreachable", reason, **fields)


def failure(error: Error, detail: str, run_id: str | None = None, **fields: Any) -> Reply:  # noqa: ANN401
    """The reply that reports a failed call, or a failed or cancelled run. `run_id`: None without a run."""
    status: Status = "cancelled" if error == "cancelled" else "failed"
    run = {"run_id": run_id} if run_id is not None else {}
    return {**run, "status": status, "error": error, "detail": detail, **fields}


def resumable(reply: Reply) -> Reply:
    """The reply, with the command that continues the run under the key `resume`."""
    return {**reply, "resume": resume_command(str(reply["run_id"]))}


def resume_command(run_id: str) -> str:
    return f"claude-k8s run --run-id {run_id}"


def cancel_command(run_id: str) -> str:
    return f"claude-k8s cancel {run_id}"


def outcome_of(run_id: str, result: Mapping[str, Any]) -> Reply:
    """The run's outcome, built from the result of `execute` in wire format."""
    if result.get("errorMessage") is None:
        return {"run_id": run_id, "status": "succeeded", "result": dict(result)}
    error: Error = "cancelled" if result.get("errorCode") == "cancelled" else "task_failed"
    reply = failure(error, str(result["errorMessage"]), run_id)
    return {**reply, "error_code": result.get("errorCode"), "result": dict(result)}


def write_failed_reply(stop: Stop, run_id: str | None) -> Reply:
    """The reply if the state or --output could not be written, including the run's own outcome."""
    outcome = stop.outcome or {}
    run_status: RunStatus = outcome.get("status") or stop.run_status or "unknown"
    detail = f"{stop.detail}; {_RUN_STATUS_TEXT[run_status]}"
    if outcome.get("detail"):
        detail = f"{detail}: {outcome['detail']}"
    fields = {key: value for key, value in stop.fields.items() if key != "run_id"}
    result = {key: outcome[key] for key in ("error_code", "result") if key in outcome}
    return failure(stop.error, detail, run_id, **fields, run_status=run_status, **result)


def exit_code(reply: Reply) -> int:
    """The exit code of `run` and `query`. A wait that was cut short has failed, even if the run continues."""
    if "error" in reply:
        return FAILED
    return {"succeeded": DONE, "polling": RUNNING}.get(str(reply.get("status")), FAILED)
