"""The API server returns no log: the cause is reported, and the Job with its log is kept."""

from pathlib import Path

import pytest
from tests.support.in_memory_runs import GOOD, count_jobs, one_host

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, 'pods "x" is forbidden: User "u" cannot get resource "pods/log"'),
        (500, "dial tcp 10.0.0.1:10250: connect: connection refused"),
    ],
)
async def test_log_that_the_server_never_returns_is_reported_with_its_cause_and_kept(
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


async def test_log_that_was_deleted_with_its_pod_is_reported_as_gone(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse("get", "pods/log", 404, times=10**6, message='pods "x" not found')
        _, host_log = await run()
        assert "no longer available from the cluster" in host_log.status
        assert count_jobs(fake) == 0
