"""With `onResult`: the Job is deleted after the host has stored the result, and kept if the host fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import jobs
from tests.support.in_memory_runs import GOOD, one_host, two_hosts

from paperclip_claude_k8s.cluster.labels import TAKEN_ANNOTATION
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import FakeCluster

pytestmark = pytest.mark.looptime

RETRY_OF_RUN_1: dict[str, Any] = {
    "context": {"taskId": "task-1", "paperclipTaskMarkdown": "Do it.", "retryOfRunId": "run-1"}
}


class Receiver:
    """An `onResult` callback that stores a result in `seconds`, and then raises `error` if that is set."""

    def __init__(self, fake: FakeCluster, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.fake = fake
        self.seconds = seconds
        self.error = error
        self.results: list[ExecutionResult] = []
        self.jobs_when_stored = 0
        self.called = asyncio.Event()

    async def __call__(self, result: ExecutionResult) -> None:
        self.results.append(result)
        self.called.set()
        await asyncio.sleep(self.seconds)
        self.jobs_when_stored = len(jobs(self.fake))
        if self.error is not None:
            raise self.error


async def test_job_exists_until_the_host_has_stored_the_result(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        receiver = Receiver(fake, seconds=20)
        result, _ = await run(onResult=receiver)
        assert receiver.results == [result]
        assert receiver.jobs_when_stored == 1
        assert jobs(fake) == []


@pytest.mark.parametrize("error", [OSError("the database cannot be reached"), asyncio.CancelledError()])
async def test_next_run_delivers_the_result_that_the_host_failed_to_store(
    tmp_path: Path, error: BaseException
) -> None:
    async with two_hosts(tmp_path, GOOD) as (fake, one, two):
        first, log = await one.run(onResult=Receiver(fake, error=error))
        assert "its result could not be recorded" in log.status
        (job,) = jobs(fake)
        assert TAKEN_ANNOTATION not in job["metadata"]["annotations"]
        receiver = Receiver(fake)
        second, _ = await two.run(runId="run-2", onResult=receiver, **RETRY_OF_RUN_1)
        assert (second.cost_usd, receiver.results) == (first.cost_usd, [second])
        assert fake.calls.count("create", "jobs") == 1
        assert jobs(fake) == []


async def test_run_ends_after_a_time_limit_if_the_host_never_stores_the_result(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        began = asyncio.get_running_loop().time()
        result, _ = await run(onResult=Receiver(fake, seconds=10_000))
        assert result.error_message is None
        assert asyncio.get_running_loop().time() - began < 120
        assert len(jobs(fake)) == 1


async def test_shutdown_while_the_host_stores_the_result_keeps_the_job(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, GOOD) as (fake, one, two):
        receiver = Receiver(fake, seconds=60)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.run(onResult=receiver))
            await receiver.called.wait()
            await one.adapter.shutdown()
            assert task.cancelled()
        second, _ = await two.run(runId="run-2", **RETRY_OF_RUN_1)
        assert second.cost_usd == receiver.results[0].cost_usd
        assert fake.calls.count("create", "jobs") == 1


async def test_next_run_waits_while_the_host_stores_a_result(tmp_path: Path) -> None:
    """`concurrencyWaitSec` is 0, so the run waits only because the agent in its slot has ended."""
    async with two_hosts(tmp_path, GOOD) as (fake, one, _):
        receiver = Receiver(fake, seconds=30)
        async with asyncio.TaskGroup() as group:
            group.create_task(one.run(onResult=receiver))
            await receiver.called.wait()
            result, _log = await one.run(runId="run-2", context={"taskId": "task-2"})
        assert result.error_message is None
        assert fake.calls.count("create", "jobs") == 2


async def test_retained_job_is_announced_before_the_result(tmp_path: Path) -> None:
    """The host may close the run's log when it gets the result."""
    seen: list[str] = []
    async with one_host(tmp_path, GOOD) as (fake, run):

        async def on_log(_stream: str, text: str) -> None:
            seen.append(text)

        async def on_result(_result: Any) -> None:
            seen.append("RESULT")

        await run(onLog=on_log, onResult=on_result, config={"retainJobs": True})
        (job,) = jobs(fake)
    assert TAKEN_ANNOTATION in job["metadata"]["annotations"]
    text = "".join(seen)
    assert text.count("Retaining Job") == 1
    assert text.index("Retaining Job") < text.index("RESULT")
