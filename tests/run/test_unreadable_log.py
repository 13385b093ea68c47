"""The API server refuses the log, no longer has the log, or ignores the options of the log request."""

import asyncio
from pathlib import Path

import pytest
from tests.support.in_memory_runs import GOOD, WHOLE, assert_whole, count_jobs, one_host

from paperclip_claude_k8s.testing import PodScript

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, 'pods "x" is forbidden: User "u" cannot get resource "pods/log"'),
        (500, "dial tcp 10.0.0.1:10250: connect: connection refused"),
    ],
)
async def test_job_is_kept_and_the_cause_reported_if_the_server_refuses_its_log(
    tmp_path: Path, status: int, message: str
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse("get", "pods/log", status, times=10**6, message=message)
        result, host_log = await run()
        assert result.error_message is None  # the relay's summary has the result
        assert f"HTTP {status}: {message}" in host_log.status
        assert "no longer available" not in host_log.status
        assert any(message in warning for warning in (result.result_json or {})["warnings"])
        assert "Retaining Job" in host_log.status
        assert count_jobs(fake) == 1
        result, _ = await run(runId="run-2", context={"taskId": "other"})
        assert result.error_message is None  # the retained Job does not block the agent


async def test_log_that_was_deleted_with_its_pod_is_reported_as_unavailable(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse("get", "pods/log", 404, times=10**6, message='pods "x" not found')
        _, host_log = await run()
        assert "no longer available from the cluster" in host_log.status
        assert count_jobs(fake) == 0


PIECES = [line + b"\n" for line in WHOLE.split(b"\n") if line]
SLOW = PodScript(output=tuple((2.0 * n, piece) for n, piece in enumerate(PIECES)), ends_at=2.0 * len(PIECES))


@pytest.mark.parametrize(
    "ignored",
    [
        {"timestamps"},
        {"timestamps", "sinceTime"},
        {"timestamps", "sinceTime", "tailLines", "follow"},
        {"sinceTime", "tailLines", "follow"},
    ],
    ids=lambda options: "+".join(sorted(options)),
)
async def test_log_is_complete_if_the_server_ignores_options_and_streams_break(
    tmp_path: Path, ignored: set[str]
) -> None:
    async with one_host(tmp_path, SLOW) as (fake, run):
        fake.faults.ignored_log_options |= ignored
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            for _ in range(4):
                await asyncio.sleep(SLOW.ends_at / 5)
                fake.faults.drop_log_streams()
        result, host_log = running.result()
        assert_whole(result, host_log)
        assert (result.result_json or {})["log"]["complete"] is True
        assert host_log.status.count("without timestamps") == ("timestamps" in ignored)
        assert "message from the cluster" not in host_log.status
