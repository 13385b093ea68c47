"""Regression tests for edge cases of a run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import jobs, lease_holders, started
from tests.support.in_memory_runs import FOREVER, LONG, assert_whole, two_hosts

from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog, PodScript

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("status_line", ["Created K8s Job", "Reattaching"])
async def test_stop_during_the_host_callback_after_launch_stops_the_agent(
    tmp_path: Path, status_line: str
) -> None:
    stop = asyncio.Event()

    class StopsAfterStatusLine(HostLog):
        async def on_log(self, stream: str, text: str) -> None:
            await super().on_log(stream, text)
            if status_line in text:
                stop.set()
                await asyncio.sleep(3)

    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        if status_line == "Reattaching":
            async with started(one) as first:
                first.cancel()
        result, _ = await two.run(StopsAfterStatusLine(), signal=stop)
        assert result.error_code == "cancelled"
        assert jobs(fake) == []
        assert list(fake.store.list(PODS)) == []


async def test_outage_before_the_start_does_not_count_for_schedule_timeout_sec(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(one.run(config={"scheduleTimeoutSec": 30}))
            while not jobs(fake):  # noqa: ASYNC110  # the moment after the create
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            one.disconnect()
            await asyncio.sleep(121)
            one.connection.restore()
        assert_whole(*running.result())


async def test_second_wake_without_content_gets_a_new_job(tmp_path: Path) -> None:
    """If two contexts contain only a task, the runs may be for two different wakes."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        bare: dict[str, Any] = {"context": {"taskId": "task-1"}}
        async with started(one, **bare) as first:
            first.cancel()
        await asyncio.sleep(300)
        result, _ = await two.run(runId="run-2", **bare)
        assert result.error_message is None
        assert fake.calls.count("create", "jobs") == 2


async def test_job_that_never_started_does_not_block_other_tasks(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.refuse("create", "secrets", 503, times=10_000)
        async with started(one, 5):
            one.disconnect()
            fake.faults.request_hooks.clear()
            context = {"taskId": "task-2", "paperclipTaskMarkdown": "Else."}
            result, _ = await two.run(runId="run-2", context=context)
        assert result.error_message is None


async def test_lost_response_to_create_fails_the_run_if_the_job_cannot_be_read(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        fake.faults.denied.add(("get", "jobs"))
        one.connection.loses_response_of = ("create", "jobs")
        result, _ = await one.run()
        assert result.error_code == "k8s_job_create_failed"
        fake.faults.denied.clear()


@pytest.mark.parametrize(
    "context",
    [
        {"taskId": "t", "paperclipTaskMarkdown": "broken \ud800 text"},
        {"taskId": "t", "paperclipWake": {"comments": [{"body": "\ud800", "n": 2**70}]}},
    ],
)
async def test_lone_surrogates_and_huge_numbers_are_accepted(tmp_path: Path, context: dict[str, Any]) -> None:
    async with two_hosts(tmp_path, LONG) as (_, one, _two):
        result, host_log = await one.run(context=context, agent={"id": "a", "name": "N\ud800"})
        assert_whole(result, host_log)


@pytest.mark.parametrize("path", ["~nouser-here/x", "a\0b"])
async def test_kubeconfig_that_is_not_a_path_is_reported(path: str) -> None:
    from paperclip_claude_k8s.adapter import Adapter  # noqa: PLC0415  # reads real credentials, unlike all other tests here

    adapter = Adapter()
    ctx = {"runId": "r", "agent": {"id": "a"}, "config": {"kubeconfig": path, "image": "x"}}
    result = await adapter.execute({**ctx, "onLog": HostLog().on_log})
    assert result.error_code == "k8s_config_invalid"
    await adapter.shutdown()


async def test_job_that_never_started_is_not_retained(tmp_path: Path) -> None:
    stuck = PodScript(waiting=((FOREVER, "ErrImagePull", "no such image"),))
    async with two_hosts(tmp_path, stuck) as (fake, one, _):
        result, _ = await one.run(config={"retainJobs": True, "imagePullTimeoutSec": 60})
        assert result.error_code == "k8s_pod_schedule_failed"
        assert jobs(fake) == []


async def test_adopted_job_without_leases_names_its_new_holder(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.denied.add(("create", "leases"))
        async with started(one) as first:
            first.cancel()
            await asyncio.sleep(190)
            async with started(two, 5, runId="run-2") as second:
                (job,) = jobs(fake)
                assert "host-two" in job["metadata"]["annotations"]["paperclip.io/holder"]
                assert_whole(*await second)


async def run_and_remove_pod(tmp_path: Path, pod_script: PodScript) -> tuple[ExecutionResult, float]:
    """Run an agent and remove its waiting Pod. Returns the result, and the seconds from the removal to it."""
    async with two_hosts(tmp_path, pod_script) as (fake, one, _):
        loop = asyncio.get_running_loop()
        async with started(one, 20) as task:
            (pod,) = fake.store.list(PODS)
            fake.store.remove(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            began = loop.time()
            result, _ = await task
        return result, loop.time() - began


async def test_pod_removed_during_its_image_pull_ends_the_run_at_once(tmp_path: Path) -> None:
    stuck = PodScript(waiting=((FOREVER, "ErrImagePull", "no such image"),))
    result, seconds = await run_and_remove_pod(tmp_path, stuck)
    assert result.error_code == "k8s_pod_disrupted"
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert seconds < 10


async def test_agent_may_have_started_in_a_pod_removed_in_container_creating(tmp_path: Path) -> None:
    starting = PodScript(waiting=((FOREVER, "ContainerCreating", ""),))
    result, seconds = await run_and_remove_pod(tmp_path, starting)
    assert result.error_code == "k8s_pod_disrupted"
    assert "it is unknown whether its agent had started" in (result.error_message or "")
    assert result.execution_recovery is None
    assert 20 <= seconds < 30, "the Pod's grace period, and some seconds for the kubelet"


async def test_403s_for_ten_seconds_after_an_outage_are_ignored(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _), started(one) as task:
        one.disconnect()
        await asyncio.sleep(70)
        one.connection.restore()
        for verb in ("list", "watch"):
            fake.faults.denied |= {(verb, "jobs"), (verb, "pods")}
        await asyncio.sleep(10)
        fake.faults.denied.clear()
        assert_whole(*await task)


async def test_stop_while_the_slot_lease_is_created_leaves_no_lease(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(one.run(signal=stop))
            while fake.calls.count("create", "leases") < 2:  # noqa: ASYNC110  # the moment of the second one
                await asyncio.sleep(0.0001)
            stop.set()
        assert running.result()[0].error_code == "cancelled"
        await asyncio.sleep(5)
        assert lease_holders(fake, "slot") == []


async def test_exception_in_on_meta_does_not_end_the_run(tmp_path: Path) -> None:
    def broken(_meta: Any) -> Any:
        raise ValueError("not even async")

    async with two_hosts(tmp_path, LONG) as (_, one, _two):
        result, host_log = await one.run(onMeta=broken)
        assert_whole(result, host_log)


async def test_blocked_run_does_not_call_on_dispatch(tmp_path: Path) -> None:
    dispatches: list[str] = []

    async def dispatched() -> None:
        dispatches.append("dispatched")

    async with two_hosts(tmp_path, LONG) as (_, one, two), started(one):
        result, _ = await two.run(runId="run-2", onDispatch=dispatched)
        assert result.error_code == "k8s_concurrent_run_blocked"
        assert dispatches == []


async def test_result_contains_the_duration_of_each_phase(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (_, one, _two):
        result, _ = await one.run()
        assert result.result_json is not None
        phases = result.result_json["phases"]
        assert list(phases) == ["start", "run", "complete"]
        assert 300_000 <= phases["run"] <= 303_000
