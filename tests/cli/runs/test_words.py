"""A run whose state or output could not be written: told is what failed, and what became of the run."""

import asyncio
from typing import Any

import pytest

from paperclip_claude_k8s.cli.runs.replies import (
    Answer,
    RunStatus,
    Stop,
    exit_code,
    failure,
    outcome_of,
    stop_within,
    unwritten,
)

RESULT: dict[str, Any] = {"exitCode": 0, "summary": "done"}
FAILED = {**RESULT, "errorMessage": "the model refused", "errorCode": "claude_refusal"}
CANCELLED = {**RESULT, "errorMessage": "Run cancelled", "errorCode": "cancelled"}


def full(outcome: Answer | None = None, run_status: RunStatus = "polling") -> Answer:
    return unwritten(Stop("output_unwritable", "it is full").about(run_status, outcome), "r1")


@pytest.mark.parametrize(
    ("result", "became", "words"),
    [
        (RESULT, "succeeded", "it is full; the run itself succeeded, and `result` is its result"),
        (FAILED, "failed", "it is full; the run itself failed: the model refused"),
        (CANCELLED, "cancelled", "it is full; the run itself was cancelled: Run cancelled"),
    ],
)
def test_the_outcome_of_a_run_is_told_with_what_could_not_be_written(
    result: dict[str, Any], became: str, words: str
) -> None:
    told = full(outcome_of("r1", result))
    assert (told["run_id"], told["status"], told["error"]) == ("r1", "failed", "output_unwritable")
    assert (told["run_status"], told["detail"], told["result"]) == (became, words, result)
    assert told.get("error_code") == result.get("errorCode")
    assert exit_code(told) == 1


@pytest.mark.parametrize(
    ("run_status", "words"),
    [
        ("not_submitted", "it is full; nothing was submitted"),
        ("unknown", "it is full; whether the run has a Job is not known here"),
        ("polling", "it is full; the Job goes on, make room and resume"),
    ],
)
def test_a_run_without_outcome_is_told_by_how_far_it_came(run_status: RunStatus, words: str) -> None:
    told = full(run_status=run_status)
    assert (told["run_status"], told["detail"]) == (run_status, words)
    assert "result" not in told


def test_an_outcome_that_only_says_why_there_is_none_is_told_in_its_words() -> None:
    told = full(failure("result_lost", "its Job is gone", "r1"))
    assert (told["run_status"], told["detail"]) == (
        "failed",
        "it is full; the run itself failed: its Job is gone",
    )


def test_what_was_known_first_of_a_run_stays() -> None:
    stop = Stop("state_unwritable", "x").about("polling").about("not_submitted")
    assert stop.run_status == "polling"


async def test_a_stop_is_found_in_what_task_groups_make_of_it() -> None:
    async def stops() -> None:
        raise Stop("state_unwritable", "x")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(_grouped(stops))
    found = stop_within(caught.value)
    assert found is not None
    assert found.error == "state_unwritable"
    assert stop_within(ExceptionGroup("", [found, ValueError()])) is None
    assert stop_within(ValueError()) is None


async def _grouped(work: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work())
