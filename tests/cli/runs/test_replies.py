"""Answers if state or output could not be written: what failed, and what the run's own outcome is."""

import asyncio
from typing import Any

import pytest

from paperclip_claude_k8s.cli.runs.replies import (
    Answer,
    RunStatus,
    Stop,
    exit_code,
    failure,
    find_stop,
    outcome_of,
    unwritable_answer,
)

RESULT: dict[str, Any] = {"exitCode": 0, "summary": "done"}
FAILED = {**RESULT, "errorMessage": "the model refused", "errorCode": "claude_refusal"}
CANCELLED = {**RESULT, "errorMessage": "Run cancelled", "errorCode": "cancelled"}


def answer_about(outcome: Answer | None = None, run_status: RunStatus = "polling") -> Answer:
    return unwritable_answer(Stop("output_unwritable", "it is full").about(run_status, outcome), "r1")


@pytest.mark.parametrize(
    ("result", "run_status", "detail"),
    [
        (RESULT, "succeeded", "it is full; the run itself succeeded, and `result` is its result"),
        (FAILED, "failed", "it is full; the run itself failed: the model refused"),
        (CANCELLED, "cancelled", "it is full; the run itself was cancelled: Run cancelled"),
    ],
)
def test_unwritable_answer_contains_the_outcome_of_the_run(
    result: dict[str, Any], run_status: str, detail: str
) -> None:
    answer = answer_about(outcome_of("r1", result))
    assert (answer["run_id"], answer["status"], answer["error"]) == ("r1", "failed", "output_unwritable")
    assert (answer["run_status"], answer["detail"], answer["result"]) == (run_status, detail, result)
    assert answer.get("error_code") == result.get("errorCode")
    assert exit_code(answer) == 1


@pytest.mark.parametrize(
    ("run_status", "detail"),
    [
        ("not_submitted", "it is full; nothing was submitted"),
        ("unknown", "it is full; it is not known whether the run has a Job"),
        ("polling", "it is full; the Job keeps running: make room and resume"),
    ],
)
def test_unwritable_answer_without_outcome_has_the_run_status(run_status: RunStatus, detail: str) -> None:
    answer = answer_about(run_status=run_status)
    assert (answer["run_status"], answer["detail"]) == (run_status, detail)
    assert "result" not in answer


def test_unwritable_answer_quotes_the_detail_of_a_lost_result() -> None:
    answer = answer_about(failure("result_lost", "its Job is gone", "r1"))
    assert (answer["run_status"], answer["detail"]) == (
        "failed",
        "it is full; the run itself failed: its Job is gone",
    )


def test_stop_keeps_the_run_status_that_was_set_first() -> None:
    stop = Stop("state_unwritable", "x").about("polling").about("not_submitted")
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
