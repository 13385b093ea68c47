"""How runs of the TypeScript adapter deliver their log and end, and where this adapter differs on purpose."""

import asyncio
from typing import Any

import pytest
from tests.support.api_server import serving
from tests.support.differences import assert_typescript_adapter_differs
from tests.support.disruptions import change
from tests.support.host_api import HostApi, open_poller, until
from tests.support.plans import a_context

from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.testing import AgentRunner, FakeCluster, PodScript, capture

WHOLE = capture("02").decode()
PARTIAL = WHOLE[: WHOLE.index('{"type":"result"')]
RUNNING = {"status": "running"}
CANCELLED = {"status": "cancelled"}


def after(seconds: float, function: Any, *arguments: Any) -> None:
    asyncio.get_running_loop().call_later(seconds, function, *arguments)


def elapsed() -> float:
    return asyncio.get_running_loop().time()


# ── The log ──────────────────────────────────────────────────────────────────────────────────────


async def test_log_of_an_agent_that_ends_at_once_is_delivered(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = PodScript.replaying(WHOLE.encode(), seconds=0.0)
    result, host_log = await run_agent()
    assert result.error_code is None
    assert host_log.stdout == WHOLE


async def test_log_that_ends_with_its_container_does_not_delay_the_result(run_agent: AgentRunner) -> None:
    result, host_log = await run_agent()
    assert host_log.stdout == WHOLE
    assert result.error_code is None
    assert elapsed() < 65  # the agent works for a minute


@pytest.mark.parametrize("second", [20.0, 30.0])
async def test_dropped_log_stream_loses_nothing(second: float, run_agent: AgentRunner) -> None:
    result, host_log = await run_agent(fault="log_dropped", after=second)
    assert result.error_code is None
    assert host_log.stdout == WHOLE


async def test_silence_after_a_dropped_log_stream_does_not_end_the_run(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = PodScript.working(200.0)
    result, host_log = await run_agent(fault="log_dropped")
    assert result.error_code is None
    assert result.session_id is not None
    assert host_log.stdout == WHOLE
    assert_typescript_adapter_differs("the log stream gives up after 50 reconnects")


async def test_result_after_a_cut_of_the_log_stream_is_read(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = PodScript(
        output=((0.0, PARTIAL.encode()), (60.0, WHOLE[len(PARTIAL) :].encode())), ends_at=60.0
    )
    after(59.9, fake_cluster.faults.drop_log_streams)
    result, host_log = await run_agent()
    assert result.error_code is None
    assert host_log.stdout == WHOLE


# ── The end ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seconds", [1, 4])
async def test_time_limit_ends_the_run(seconds: int, run_agent: AgentRunner) -> None:
    result, _ = await run_agent(config={"timeoutSec": seconds, "graceSec": 0})
    assert (result.timed_out, result.error_code) == (True, "timeout")
    assert (result.error_message or "").startswith(f"Timed out after {seconds}s")


async def test_deadline_of_the_job_ends_the_run(fake_cluster: FakeCluster, run_agent: AgentRunner) -> None:
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    after(20, change, fake_cluster, JOBS, lambda job: job["status"].update(conditions=[failed]))
    result, _ = await run_agent(config={"timeoutSec": 300})
    assert (result.timed_out, result.error_code) == (True, "timeout")


async def test_condition_that_never_arrives_does_not_delay_the_result(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.faults.jobs_never_finish = True
    result, _ = await run_agent()
    assert (result.exit_code, result.error_code) == (0, None)
    assert result.session_id is not None
    assert elapsed() < 120


async def test_condition_that_arrives_with_the_end_does_not_delay_the_result(run_agent: AgentRunner) -> None:
    result, _ = await run_agent()
    assert (result.exit_code, result.error_message) == (0, None)
    assert elapsed() < 65  # the agent works for a minute


async def test_deletion_of_the_job_after_the_result_does_not_change_the_result(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.faults.status_delay = 20.0
    fake_cluster.pod_script = PodScript.succeeding(30.0)

    def vanish() -> None:
        (job,) = fake_cluster.store.list(JOBS)
        fake_cluster.store.remove(JOBS, "paperclip", job["metadata"]["name"])

    after(40, vanish)
    result, _ = await run_agent()
    assert (result.exit_code, result.error_code) == (0, None)
    assert result.session_id is not None


# ── Cancellation ─────────────────────────────────────────────────────────────────────────────────


async def test_log_stream_that_hangs_does_not_delay_the_end_of_a_stopped_run(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    signal = asyncio.Event()
    after(10, fake_cluster.faults.logs_flowing.clear)
    after(15, signal.set)
    result, _ = await run_agent(signal=signal)
    assert result.error_code == "cancelled"
    assert elapsed() < 60
    fake_cluster.faults.logs_flowing.set()


async def test_run_that_the_host_has_cancelled_is_stopped() -> None:
    api = HostApi(CANCELLED)
    async with (
        serving(api) as url,
        open_poller(url) as poller,
        poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        async with asyncio.timeout(60):
            await ctx.signal.wait()


async def test_error_response_of_the_host_cancels_no_run() -> None:
    api = HostApi(CANCELLED, status=500)
    async with (
        serving(api) as url,
        open_poller(url) as poller,
        poller.with_stop_signal(a_context()) as ctx,
    ):
        assert ctx.signal is not None
        await until(lambda: len(api.requests) >= 3)
        assert not ctx.signal.is_set()


@pytest.mark.parametrize(
    ("fields", "has_address"), [({"authToken": None}, True), ({}, False)], ids=["no token", "no address"]
)
async def test_host_is_not_asked_without_token_or_address(
    fields: dict[str, Any], *, has_address: bool
) -> None:
    api = HostApi(CANCELLED)
    async with (
        serving(api) as url,
        open_poller(url if has_address else "") as poller,
        poller.with_stop_signal(a_context(**fields)) as ctx,
    ):
        await asyncio.sleep(0.2)
        assert ctx.signal is None
    assert api.requests == []
