"""`write_failed_reply`: the reply of a command that could not write its state or --output.

It says what could not be written, and what became of the run.
"""

import asyncio
from typing import Any

import pytest

from paperclip_claude_k8s.cli.runs.replies import (
    Reply,
    RunStatus,
    Stop,
    exit_code,
    failure,
    find_stop,
    outcome_of,
    write_failed_reply,
)

RESULT: dict[str, Any] = {"exitCode": 0, "summary": "done"}
FAILED = {**RESULT, "errorMessage": "the model refused", "errorCode": "claude_refusal"}
CANCELLED = {**RESULT, "errorMessage": "Run cancelled", "errorCode": "cancelled"}


def reply_about(outcome: Reply | None = None, run_status: RunStatus = "polling") -> Reply:
    return write_failed_reply(
        Stop("output_unwritable", "it is full").with_run_status(run_status, outcome), "r1"
    )


@pytest.mark.parametrize(
    ("result", "run_status", "detail"),
    [
        (RESULT, "succeeded", "it is full; the run itself succeeded, and `result` is its result"),
        (FAILED, "failed", "it is full; the run itself failed: the model refused"),
        (CANCELLED, "cancelled", "it is full; the run itself was cancelled: Run cancelled"),
    ],
)
def test_write_failed_reply_contains_the_outcome_of_the_run(
    result: dict[str, Any], run_status: str, detail: str
) -> None:
    reply = reply_about(outcome_of("r1", result))
    assert (reply["run_id"], reply["status"], reply["error"]) == ("r1", "failed", "output_unwritable")
    assert (reply["run_status"], reply["detail"], reply["result"]) == (run_status, detail, result)
    assert reply.get("error_code") == result.get("errorCode")
    assert exit_code(reply) == 1


@pytest.mark.parametrize(
    ("run_status", "detail"),
    [
        ("not_submitted", "it is full; nothing was submitted"),
        ("unknown", "it is full; it is not known whether the run has a Job"),
        ("polling", "it is full; the Job keeps running: make room and resume"),
    ],
)
def test_write_failed_reply_without_outcome_has_the_run_status(run_status: RunStatus, detail: str) -> None:
    reply = reply_about(run_status=run_status)
    assert (reply["run_status"], reply["detail"]) == (run_status, detail)
    assert "result" not in reply


def test_write_failed_reply_quotes_the_detail_of_a_lost_result() -> None:
    reply = reply_about(failure("result_lost", "its Job is gone", "r1"))
    assert (reply["run_status"], reply["detail"]) == (
        "failed",
        "it is full; the run itself failed: its Job is gone",
    )


def test_stop_keeps_the_run_status_that_was_set_first() -> None:
    stop = Stop("state_unwritable", "x").with_run_status("polling").with_run_status("not_submitted")
    assert stop.run_status == "polling"


async def test_find_stop_looks_into_nested_exception_groups() -> None:
    async def stops() -> None:
        raise Stop("state_unwritable", "x")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(_grouped(stops))
    found = find_stop(caught.value)
    assert found is not None
    assert found.error == "state_unwritable"
    assert find_stop(ExceptionGroup("", [found, ValueError()])) is None
    assert find_stop(ValueError()) is None


async def _grouped(work: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())
