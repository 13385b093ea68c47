"""Pods start, or fail to start, as with the TypeScript adapter, or differ on purpose."""

import asyncio
from typing import Any

import pytest
from tests.support.differences import assert_typescript_adapter_differs
from tests.support.disruptions import change

from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.testing import (
    AgentRunner,
    FakeCluster,
    HostLog,
    PodScript,
    build_context,
    capture,
    create_adapter,
)

WHOLE = capture("02").decode()
PER_TASK = {"concurrencyScope": "task"}


def starting_after(*waiting: tuple[float, str, str], **more: Any) -> PodScript:
    """An agent that succeeds after these waiting states: (seconds, reason, message)."""
    return PodScript(waiting=waiting, output=((0.0, WHOLE.encode()),), ends_at=2.0, **more)


async def leave_jobs(cluster: FakeCluster, *tasks: str) -> None:
    """Leave a Job for each task, each ten seconds older than the next, of a host process that has ended."""
    adapter = create_adapter(cluster, "earlier")
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            fields = {"runId": f"run-of-{task}", "context": {"taskId": task}, "config": PER_TASK}
            group.create_task(adapter.execute(build_context(HostLog(), **fields)))
            await asyncio.sleep(10)
        await adapter.shutdown()


# ── Jobs that exist already ──────────────────────────────────────────────────────────────────────


async def test_job_under_deletion_does_not_block_the_run(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    await leave_jobs(fake_cluster, "task-1")
    leaving = {"deletionTimestamp": "2026-01-01T00:00:31Z", "finalizers": ["foregroundDeletion"]}
    change(fake_cluster, JOBS, lambda job: job["metadata"].update(leaving))
    result, host_log = await run_agent(runId="run-2")
    assert result.error_code is None
    assert "of an earlier run of this agent has not ended" in host_log.status
    assert_typescript_adapter_differs("Jobs under deletion count as gone")


async def test_live_job_of_another_task_blocks_the_run_although_an_older_job_fits(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    await leave_jobs(fake_cluster, "task-1", "task-2")
    result, _ = await run_agent(config={"concurrencyWaitSec": 0}, context={"taskId": "task-1"})
    assert result.error_code == "k8s_concurrent_run_blocked"
    assert "task-2" in (result.error_message or "")


@pytest.mark.parametrize(("config", "namespace"), [({}, "paperclip"), ({"namespace": "agents"}, "agents")])
async def test_namespace_is_the_one_of_the_host_unless_configured(
    config: dict[str, str], namespace: str, fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.add_namespace("agents")
    result, _ = await run_agent(config={**config, "retainJobs": True})
    assert result.error_code is None
    (job,) = fake_cluster.store.list(JOBS)
    assert job["metadata"]["namespace"] == namespace


# ── The Pod ──────────────────────────────────────────────────────────────────────────────────────


async def test_pod_that_fits_no_node_is_an_error(run_agent: AgentRunner) -> None:
    result, _ = await run_agent(config={"resources.requests.cpu": "9000"})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert "Insufficient cpu" in (result.error_message or "")


async def test_pod_that_is_created_late_is_waited_for(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.faults.pod_refusal = "exceeded quota: agents, requested: pods=1, used: 5, limited: 5"
    asyncio.get_running_loop().call_later(30, setattr, fake_cluster.faults, "pod_refusal", "")
    result, _ = await run_agent()
    assert (result.exit_code, result.error_code) == (0, None)


async def test_waiting_states_of_a_pod_are_logged(fake_cluster: FakeCluster, run_agent: AgentRunner) -> None:
    fake_cluster.pod_script = starting_after((4.0, "PodInitializing", ""))
    result, host_log = await run_agent(config={"promptDelivery": "init"})
    assert (result.exit_code, result.error_code) == (0, None)
    assert "PodInitializing" in host_log.status
    assert "Pod running" in host_log.status


async def test_container_that_runs_is_followed_while_its_pod_is_shown_as_pending(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = starting_after(shown_after=60.0)
    result, host_log = await run_agent()
    assert (result.exit_code, result.error_code) == (0, None)
    assert host_log.stdout == WHOLE


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


async def test_init_container_that_fails_is_an_error(
    fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = starting_after((600.0, "PodInitializing", ""))
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}

    def fail(pod: dict[str, Any]) -> None:
        name = pod["spec"]["initContainers"][0]["name"]
        pod["status"]["initContainerStatuses"] = [{"name": name, "state": ended}]

    asyncio.get_running_loop().call_later(20, change, fake_cluster, PODS, fail)
    result, _ = await run_agent(config={"promptDelivery": "init"})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert 'Init container "write-prompt" failed' in (result.error_message or "")
    assert asyncio.get_running_loop().time() < 60


@pytest.mark.parametrize(
    ("container", "state", "row"),
    [
        (
            "initContainerStatuses",
            waiting("ImagePullBackOff", "registry is away"),
            "an init container whose image cannot be pulled fails the run at once",
        ),
        (
            "containerStatuses",
            waiting("CrashLoopBackOff", "back-off 10s"),
            "a container in CrashLoopBackOff fails the run at once",
        ),
    ],
)
async def test_obstacle_that_may_pass_is_waited_for_within_its_budget(
    container: str, state: dict[str, Any], row: str, fake_cluster: FakeCluster, run_agent: AgentRunner
) -> None:
    fake_cluster.pod_script = starting_after((100_000.0, "PodInitializing", ""))

    def block(pod: dict[str, Any]) -> None:
        kind = "initContainers" if container.startswith("init") else "containers"
        statuses = [{"name": pod["spec"][kind][0]["name"], "image": "x", "state": state}]
        pod["status"][container] = statuses

    asyncio.get_running_loop().call_later(20, change, fake_cluster, PODS, block)
    result, _ = await run_agent(config={"promptDelivery": "init", "imagePullTimeoutSec": 300})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert state["waiting"]["reason"] in (result.error_message or "")
    assert asyncio.get_running_loop().time() > 100  # and did not fail at once, at second 20
    assert_typescript_adapter_differs(row)
