"""A Pod is deleted, fails or cannot be found before its agent starts, on virtual time."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.disruptions import (
    SLOW_TO_STOP,
    Object,
    change,
    delete_pod,
    only,
    run_disrupted,
    scale_down,
    suspend,
    taint,
)
from tests.support.hosts import started
from tests.support.in_memory_runs import FOREVER, PARTIAL, WHOLE, count_jobs, one_host, two_hosts

from paperclip_claude_k8s.cluster.labels import RUN_LOG_ANNOTATION
from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.kinds import EVENTS, JOBS, PODS
from paperclip_claude_k8s.plan.run_log import RUN_LOG_FOLDER, path_of_pod
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript

pytestmark = pytest.mark.looptime
NEVER_STARTS = PodScript(waiting=((FOREVER, "ContainerCreating", ""),))
DAY = 86400.0
"""In seconds. A run that lasts this long does not end."""
QUEUED = {"queueName": "agents"}


def admit(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["spec"].update(suspend=False))


async def test_pod_deleted_on_a_lost_node_fails_the_run_after_start_timeout_sec(tmp_path: Path) -> None:
    async with one_host(tmp_path, NEVER_STARTS) as (fake, run), asyncio.timeout(DAY):
        fake.faults.node_lost = True
        result, _ = await run_disrupted(fake, run, delete_pod, after=5.0)
        assert result.error_code == "k8s_pod_schedule_failed"
        assert "the Pod is being deleted (waited 120s, startTimeoutSec is 120)" in (
            result.error_message or ""
        )
        assert "it is unknown whether its agent had started" in (result.error_message or "")


async def test_result_on_the_volume_is_used_although_no_start_was_observed(tmp_path: Path) -> None:
    """The API server lost contact with the node, where the agent ran to its end."""
    path = f"{RUN_LOG_FOLDER}/co/agent-1/run-1.ndjson"
    volume = tmp_path / "volume"

    def annotate(job: Object) -> None:
        job["metadata"]["annotations"][RUN_LOG_ANNOTATION] = path

    async with two_hosts(tmp_path, NEVER_STARTS) as (fake, one, two), asyncio.timeout(DAY):
        fake.faults.node_lost = True
        async with started(one, 5.0):
            change(fake, JOBS, annotate)
            file = volume / path_of_pod(path, only(fake, PODS)["metadata"]["uid"])
            file.parent.mkdir(parents=True)
            file.write_bytes(WHOLE)
            await one.adapter.shutdown()
        delete_pod(fake)
        result, host_log = await two.run(config={"sharedVolumeDir": str(volume)})
        assert result.error_code is None, result.error_message
        assert host_log.stdout.encode() == WHOLE


@pytest.mark.parametrize(("act", "reason"), [(suspend, "JobSuspended"), (scale_down, "JobScaledDown")])
async def test_pod_failed_before_the_start_is_reported_with_its_cause(
    tmp_path: Path, act: Callable[[FakeCluster], None], reason: str
) -> None:
    async with one_host(tmp_path, NEVER_STARTS) as (fake, run):
        fake.faults.fails_unstarted_pods = True
        result, _ = await run_disrupted(fake, run, act, after=5.0)
        assert result.error_code == "k8s_pod_disrupted"
        assert reason in (result.error_message or "")
        assert "the agent had not started" in (result.error_message or "")


@pytest.mark.parametrize("readmitted_after", [0.5, 200.0])
async def test_pod_that_failed_because_its_queued_job_was_suspended_gets_a_successor(
    tmp_path: Path, readmitted_after: float
) -> None:
    waits = iter([((FOREVER, "ErrImagePull", "slow"),), ()])

    def pod_script_of(_pod: Object) -> PodScript:
        return PodScript(waiting=next(waits), output=((0.0, WHOLE),), ends_at=2.0)

    async with one_host(tmp_path, pod_script_of) as (fake, run):
        fake.faults.fails_unstarted_pods = True
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config=QUEUED))
            await asyncio.sleep(1)
            admit(fake)
            await asyncio.sleep(10)
            suspend(fake)
            await asyncio.sleep(readmitted_after)
            assert count_jobs(fake) == 1
            admit(fake)
        result, host_log = running.result()
        assert result.error_code is None, result.error_message
        assert host_log.stdout.encode() == WHOLE
        assert len(fake.kubelet.started) == 1


async def test_run_fails_if_its_job_is_suspended_without_a_queue(tmp_path: Path) -> None:
    late = PodScript(waiting=((30.0, "ErrImagePull", ""),), output=((0.0, WHOLE),), ends_at=2.0)
    async with one_host(tmp_path, late) as (fake, run), asyncio.timeout(DAY):
        result, _ = await run_disrupted(fake, run, suspend, after=5.0)
        assert result.error_code == "k8s_pod_disrupted"
        assert "the Job was suspended" in (result.error_message or "")
        assert count_jobs(fake) == 0


async def test_pod_found_only_after_schedule_timeout_sec_may_still_start(tmp_path: Path) -> None:
    """The watch of Pods hangs; only the direct read finds the Pod, whose container is being started."""
    slow = PodScript(waiting=((100.0, "ContainerCreating", ""),), output=((0.0, WHOLE),), ends_at=2.0)
    async with one_host(tmp_path, slow) as (fake, run):
        fake.faults.hanging_watches.add("pods")
        result, host_log = await run(config={"scheduleTimeoutSec": 60})
        assert result.error_code is None, result.error_message
        assert host_log.stdout.encode() == WHOLE


async def test_event_older_than_the_pod_is_not_reported_as_the_cause(tmp_path: Path) -> None:
    def backdate(event: Object) -> None:
        event["lastTimestamp"] = "2020-01-01T00:00:00Z"

    def record_old_event_and_taint(fake: FakeCluster) -> None:
        Events(fake.store, "job-controller").record(only(fake, JOBS), "Normal", "Suspended", "Job suspended")
        suspended = next(event for event in fake.store.list(EVENTS) if event["reason"] == "Suspended")
        fake.store.update(EVENTS, NAMESPACE, suspended["metadata"]["name"], backdate)
        taint(fake)

    async with one_host(tmp_path, SLOW_TO_STOP) as (fake, run):
        result, _ = await run_disrupted(fake, run, record_old_event_and_taint)
        assert "TaintManagerEviction" in (result.error_message or "")
        assert "Job suspended" not in (result.error_message or "")


@pytest.mark.parametrize("failed_reads", [0, 6])
async def test_adopted_job_whose_agent_pod_is_missing_is_reported_as_disrupted(
    tmp_path: Path, failed_reads: int
) -> None:
    async with two_hosts(tmp_path, SLOW_TO_STOP) as (fake, one, two):
        fake.faults.replaces_terminating_pods = True
        fake.faults.jobs_never_finish = True
        async with started(one):
            agents_pod = only(fake, PODS)["metadata"]["name"]
            delete_pod(fake)
            await asyncio.sleep(2)
            await one.adapter.shutdown()
        await asyncio.sleep(30)
        assert agents_pod not in {pod["metadata"]["name"] for pod in fake.store.list(PODS)}
        fake.faults.refuse("get", "pods", 503, times=failed_reads)
        began = asyncio.get_running_loop().time()
        result, host_log = await two.run()
        assert result.error_code == "k8s_pod_disrupted", result.error_message
        assert "PodDeleted" in (result.error_message or "")
        assert result.error_family == "transient_upstream"
        assert asyncio.get_running_loop().time() - began < 60
        assert host_log.stdout.encode() in {b"", PARTIAL}
        assert count_jobs(fake) == 0
