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


class Stop(Exception):
    """The call cannot go on; what it answers. `more` are further keys of the answer."""

    def __init__(self, error: Error, detail: str, **more: Any) -> None:  # noqa: ANN401  # any JSON
        super().__init__(detail)
        self.error: Error = error
        self.detail = detail
        self.more = more


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


def exit_code(answer: Answer) -> int:
    return {"succeeded": DONE, "polling": RUNNING}.get(str(answer.get("status")), FAILED)
