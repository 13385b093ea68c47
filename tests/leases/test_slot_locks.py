"""Several runs of one agent in one host process, on virtual time.

A run waits without limit while another run prepares its Job, and for `concurrencyWaitSec` after that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.event_log import EventLog
from tests.support.hosts import Host, jobs, lease_holders
from tests.support.in_memory_runs import LONG, SESSION, UNKNOWN_SESSION_OUTPUT, WHOLE, assert_whole

from paperclip_claude_k8s.devcluster.kinds import LEASES, PODS
from paperclip_claude_k8s.instrumentation.event_types import LeaseChanged
from paperclip_claude_k8s.testing import FakeCluster, PodScript

pytestmark = pytest.mark.looptime
PREPARATION = 10.0
"""Seconds between acquiring the slot and creating the Job in these tests, spent in a slow host callback."""
WITH_WAIT: dict[str, Any] = {"config": {"concurrencyWaitSec": 5000}}  # longer than all runs of a test
Run = asyncio.Task[Any]


@asynccontextmanager
async def one_host(
    folder: Path, pod_script: PodScript | Callable[[Any], PodScript] = LONG
) -> AsyncIterator[tuple[FakeCluster, Host, asyncio.TaskGroup]]:
    """Yield a cluster in memory, one Paperclip host that uses it, and a task group for the host's runs."""
    async with FakeCluster.start(folder, pod_script) as fake:
        host = Host(fake, "host-one")
        try:
            async with asyncio.TaskGroup() as group:
                yield fake, host, group
        finally:
            await host.adapter.shutdown()


def sleep_in_meta(seconds: float) -> Callable[[dict[str, Any]], Awaitable[None]]:
    """Return a slow `onMeta` of the host: runs call it between acquiring the slot and creating the Job."""

    async def on_meta(_: dict[str, Any]) -> None:
        await asyncio.sleep(seconds)

    return on_meta


async def start_run(group: asyncio.TaskGroup, host: Host, run: str, **more: Any) -> Run:
    """Start a run and let it work for a second."""
    task = group.create_task(host.run(runId=run, **more))
    await asyncio.sleep(1)
    return task


def _append_number(order: list[int], number: int, _: object) -> None:
    order.append(number)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_second_run_waits_for_preparation_and_is_blocked_by_the_job(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (fake, host, group):
        start = now()
        first = await start_run(group, host, "run-1", onMeta=sleep_in_meta(PREPARATION))
        second = await start_run(group, host, "run-2")
        assert not second.done()
        assert jobs(fake) == []
        result, host_log = await second
        (job,) = jobs(fake)
        assert PREPARATION <= now() - start < PREPARATION + 1
        assert result.error_code == "k8s_concurrent_run_blocked"
        assert job["metadata"]["name"] in result.error_message
        assert "run run-1 is still running for this agent" in result.error_message
        assert "Waiting for another run of this agent, which is creating its Job" in host_log.status
        assert_whole(*await first)
        assert fake.calls.count("create", "jobs") == 1


async def test_second_run_proceeds_if_the_job_of_the_first_is_refused(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (fake, host, group):
        fake.faults.refuse("create", "jobs", 403)
        first = await start_run(group, host, "run-1", onMeta=sleep_in_meta(PREPARATION))
        second = await start_run(group, host, "run-2")
        failed, _ = await first
        assert failed.error_code == "k8s_job_create_failed"
        assert_whole(*await second)
        assert fake.calls.count("create", "jobs") == 2
        assert fake.calls.count("create", "secrets") == 1  # the Secret is created after the Job
    assert lease_holders(fake, "slot") == []


async def test_concurrency_wait_begins_when_the_first_run_has_its_job(tmp_path: Path) -> None:
    """The time before the first run has its Job does not count; here it is longer than both limits."""
    wait = {"concurrencyWaitSec": 400}
    async with one_host(tmp_path) as (fake, host, group):
        first = await start_run(group, host, "run-1", onMeta=sleep_in_meta(500))
        second = await start_run(group, host, "run-2", config=wait)
        third = await start_run(group, host, "run-3", config={"concurrencyWaitSec": 5})
        assert_whole(*await first)
        assert_whole(*await second)
        assert (await third)[0].error_code == "k8s_concurrent_run_blocked"
        assert fake.calls.count("create", "jobs") == 2


async def test_wait_for_a_run_of_this_process_costs_no_requests_and_is_reported(tmp_path: Path) -> None:
    one_hour_run = PodScript(output=((3590.0, WHOLE),), ends_at=3600.0)
    progress: list[dict[str, Any]] = []

    async def on_progress(update: dict[str, Any]) -> None:
        progress.append(update)

    async with one_host(tmp_path, one_hour_run) as (fake, host, group):
        first = await start_run(group, host, "run-1")
        second = await start_run(
            group, host, "run-2", config={"concurrencyWaitSec": 14400}, onRuntimeProgress=on_progress
        )
        await asyncio.sleep(10)
        before = fake.calls.count("create", "leases"), fake.calls.count("list", "jobs")
        await asyncio.sleep(3000)
        assert (fake.calls.count("create", "leases"), fake.calls.count("list", "jobs")) == before
        assert len(progress) == 51  # one at the beginning, then one a minute
        assert progress[0]["message"] == "waits until another run of this agent has ended"
        assert_whole(*await first)
        result, host_log = await second
        assert_whole(result, host_log)
    assert host_log.status.count("Waiting up to 14400s for the agent's slot, which run run-1 holds") == 1
    assert host_log.status.count("Still waiting for the agent's slot") == 5  # every ten minutes
    assert "for 50 minutes so far" in host_log.status


async def test_waiting_runs_get_the_slot_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (_, host, group):
        runs = [await start_run(group, host, f"run-{n}", **WITH_WAIT) for n in range(4)]
        order: list[int] = []
        for number, run in enumerate(runs):
            run.add_done_callback(partial(_append_number, order, number))
        await asyncio.wait(runs)
    assert order == [0, 1, 2, 3]


async def test_stopped_run_ends_its_wait_for_a_slot(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with one_host(tmp_path) as (fake, host, group):
        first = await start_run(group, host, "run-1")
        second = await start_run(group, host, "run-2", signal=stop, **WITH_WAIT)
        stop.set()
        await asyncio.sleep(0.1)
        assert second.result()[0].error_code == "cancelled"
        assert_whole(*await first)
        assert fake.calls.count("create", "jobs") == 1


async def test_five_concurrent_runs_run_one_after_another(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (fake, host, group):
        most_pods = 0
        start = now()
        runs = [group.create_task(host.run(runId=f"run-{n}", **WITH_WAIT)) for n in range(5)]
        while not all(run.done() for run in runs):
            most_pods = max(most_pods, len(list(fake.store.list(PODS))))
            await asyncio.sleep(0.5)
        for run in runs:
            assert_whole(*run.result())
        assert most_pods == 1
        assert fake.calls.count("create", "jobs") == 5
        assert now() - start < 5 * (LONG.ends_at + 10)
        assert jobs(fake) == []


async def test_one_of_five_concurrent_runs_without_wait_runs_and_four_are_blocked(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (fake, host, group):
        runs = [
            group.create_task(host.run(runId=f"run-{n}", onMeta=sleep_in_meta(PREPARATION))) for n in range(5)
        ]
        await asyncio.wait(runs)
        codes = [run.result()[0].error_code for run in runs]
        assert codes == [None, *["k8s_concurrent_run_blocked"] * 4]
        assert fake.calls.count("create", "jobs") == 1


async def test_runs_of_other_agents_and_tasks_do_not_wait(tmp_path: Path) -> None:
    task_scope: dict[str, Any] = {"config": {"concurrencyScope": "task"}, "agent": {"id": "agent-3"}}
    async with one_host(tmp_path) as (fake, host, group):
        slow = [
            await start_run(group, host, "run-1", onMeta=sleep_in_meta(1000)),
            await start_run(group, host, "run-2", onMeta=sleep_in_meta(1000), **task_scope),
        ]
        start = now()
        of_other_agent = group.create_task(host.run(runId="run-3", agent={"id": "agent-2"}))
        other_task = {"taskId": "task-2", "paperclipTaskMarkdown": "Else."}
        of_other_task = group.create_task(host.run(runId="run-4", context=other_task, **task_scope))
        for run in (of_other_agent, of_other_task):
            assert (await run)[0].error_message is None
        assert now() - start < LONG.ends_at + 10
        assert not any(run.done() for run in slow)
        assert fake.calls.count("create", "jobs") == 2


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
async def test_stopped_waiting_run_ends_at_once_and_the_next_run_proceeds(tmp_path: Path, how: str) -> None:
    stop = asyncio.Event()
    async with one_host(tmp_path) as (fake, host, group):
        fake.faults.refuse("create", "jobs", 403)
        first = await start_run(group, host, "run-1", onMeta=sleep_in_meta(PREPARATION))
        second = await start_run(group, host, "run-2", signal=stop)
        third = await start_run(group, host, "run-3")
        start = now()
        if how == "stopped":
            stop.set()
            assert (await second)[0].error_code == "cancelled"
        else:
            second.cancel()
            await asyncio.wait([second])
            assert second.cancelled()
        assert now() - start < 0.1
        assert not first.done()
        assert (await first)[0].error_code == "k8s_job_create_failed"
        assert_whole(*await third)


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
async def test_next_run_proceeds_if_a_run_is_stopped_while_it_prepares(tmp_path: Path, how: str) -> None:
    stop = asyncio.Event()
    async with one_host(tmp_path) as (fake, host, group):
        first = await start_run(group, host, "run-1", onMeta=sleep_in_meta(1000), signal=stop)
        rest = [await start_run(group, host, f"run-{n}") for n in (2, 3, 4)]
        start = now()
        if how == "stopped":
            stop.set()
        else:
            first.cancel()
        await asyncio.wait(rest)
        assert_whole(*rest[0].result())
        assert now() - start < LONG.ends_at + 10
        assert [run.result()[0].error_code for run in rest[1:]] == ["k8s_concurrent_run_blocked"] * 2
        assert fake.calls.count("create", "jobs") == 1


@pytest.mark.parametrize("wait", [{}, WITH_WAIT], ids=["blocked", "waiting"])
async def test_second_attempt_of_a_run_keeps_the_slot(tmp_path: Path, wait: dict[str, Any]) -> None:
    def pod_script_of(pod: Any) -> PodScript:
        resumes = "--resume" in pod["spec"]["containers"][0]["command"]
        return PodScript(
            output=((0.0, UNKNOWN_SESSION_OUTPUT if resumes else WHOLE),), ends_at=5.0, exit_code=int(resumes)
        )

    runtime = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
    async with one_host(tmp_path, pod_script_of) as (fake, host, group):
        resuming = {"runtime": runtime, "config": {"claimName": "paperclip-data"}}
        first = await start_run(group, host, "run-1", **resuming, onMeta=sleep_in_meta(PREPARATION))
        second = await start_run(group, host, "run-2", **wait)
        result, host_log = await first
        assert result.error_message is None
        assert "trying once more with a fresh session" in host_log.status
        if wait:
            assert_whole(*await second)
        else:
            assert (await second)[0].error_code == "k8s_concurrent_run_blocked"
        assert fake.calls.count("create", "jobs") == (3 if wait else 2)  # the first run creates two


async def test_shutdown_ends_preparing_and_waiting_runs(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (fake, host, group):
        runs = [await start_run(group, host, f"run-{n}", onMeta=sleep_in_meta(1000)) for n in (1, 2, 3)]
        start = now()
        await host.adapter.shutdown()
        assert all(run.cancelled() for run in runs)
        assert now() - start < 1
        assert jobs(fake) == []
        assert lease_holders(fake, "slot") == lease_holders(fake, "process") == []


async def test_run_with_another_kube_context_of_the_same_cluster_is_blocked(tmp_path: Path) -> None:
    async with one_host(tmp_path) as (fake, host, group):
        first = await start_run(group, host, "run-1")
        before = lease_holders(fake, "slot")
        result, _ = await host.run(runId="run-2", config={"kubeContext": "the same cluster"})
        assert result.error_code == "k8s_concurrent_run_blocked"
        assert lease_holders(fake, "slot") == before
        assert_whole(*await first)
    assert lease_holders(fake, "slot") == []


async def test_slot_that_another_process_took_over_is_not_reported_as_released(tmp_path: Path) -> None:
    def give_to_another_process(lease: Any) -> None:
        lease["spec"]["holderIdentity"] = "host-two/run-2"

    log = EventLog()
    async with one_host(tmp_path) as (fake, host, group):
        host.adapter.on_event(log)
        run = await start_run(group, host, "run-1")
        (slot,) = (lease for lease in fake.store.list(LEASES) if "slot" in lease["metadata"]["name"])
        fake.store.update(LEASES, "paperclip", slot["metadata"]["name"], give_to_another_process)
        assert_whole(*await run)
    assert lease_holders(fake, "slot") == ["host-two/run-2"]
    assert [event.change for event in log.of(LeaseChanged)] == ["acquired"]
