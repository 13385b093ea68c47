"""What can delay the start of a Pod, on virtual time: runs survive temporary causes and report others."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.disruptions import change, only
from tests.support.in_memory_runs import FOREVER, GOOD, WHOLE, count_jobs, one_host

from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS
from paperclip_claude_k8s.devcluster.node import NODE
from paperclip_claude_k8s.testing import PodScript

pytestmark = pytest.mark.looptime


def starting_after(*waits: tuple[float, str, str]) -> PodScript:
    """An agent that starts after these waiting states."""
    return PodScript(waiting=waits, output=((0.0, WHOLE),), ends_at=2.0)


@pytest.mark.parametrize(
    "waits",
    [
        pytest.param(
            [(80.0, "ErrImagePull", "registry is unreachable"), (9.0, "ImagePullBackOff", "")], id="registry"
        ),
        pytest.param([(600.0, "ContainerCreating", "")], id="long image pull"),
        pytest.param([(40.0, "CreateContainerConfigError", 'secret "late" not found')], id="late Secret"),
        pytest.param(
            [(300.0, "ContainerCreating", ""), (60.0, "CreateContainerError", "busy")], id="two causes"
        ),
    ],
)
async def test_start_that_is_delayed_within_the_time_limits_succeeds(
    tmp_path: Path, waits: list[tuple[float, str, str]]
) -> None:
    async with one_host(tmp_path, starting_after(*waits)) as (_, run):
        result, host_log = await run()
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        for _, reason, message in waits:
            assert reason in host_log.status
            assert message in host_log.status


async def test_run_waits_for_a_node(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):

        def bind(pod: Any) -> None:
            pod["spec"]["nodeName"] = NODE
            pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]

        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config={"resources.requests.cpu": "9000"}))
            await asyncio.sleep(100)
            assert not only(fake, PODS)["spec"].get("nodeName")
            change(fake, PODS, bind)
        result, host_log = running.result()
        assert result.error_message is None
        assert host_log.status.count("Insufficient cpu") == 1, "the Pod's status and an Event say the same"


async def test_suspended_job_waits_for_its_queue_longer_than_schedule_timeout_sec(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config={"queueName": "agents", "scheduleTimeoutSec": 30}))
            await asyncio.sleep(3600)
            assert list(fake.store.list(PODS)) == []
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
        result, host_log = running.result()
        assert result.error_message is None
        assert "the Job is suspended; its queue will admit it" in host_log.status


async def test_mount_failure_is_reported_with_the_kubelet_event(tmp_path: Path) -> None:
    message = "Multi-Attach error for volume: it is attached elsewhere"
    async with one_host(tmp_path, starting_after((FOREVER, "ContainerCreating", ""))) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config={"imagePullTimeoutSec": 90}))
            await asyncio.sleep(5)
            Events(fake.store).record(only(fake, PODS), "Warning", "FailedAttachVolume", message)
        result, host_log = running.result()
        assert result.error_code == "k8s_pod_schedule_failed"
        assert f"FailedAttachVolume: {message}" in host_log.status
        assert message in (result.error_message or "")
        assert "imagePullTimeoutSec is 90" in (result.error_message or "")
        assert count_jobs(fake) == 0


async def test_output_of_an_agent_that_failed_early_is_delivered(tmp_path: Path) -> None:
    """An agent that fails as soon as it has started is not reported as a scheduling failure."""
    quick = PodScript(output=((0.0, b"claude: no such model\n"),), ends_at=0.0, exit_code=1)
    async with one_host(tmp_path, quick) as (_, run):
        result, host_log = await run()
        assert result.error_code == "claude_no_result"
        assert host_log.stdout == "claude: no such model\n"
        assert "Claude exited with code 1: claude: no such model" in (result.error_message or "")


async def test_missing_job_condition_does_not_delay_the_result(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.condition_delay = 1e6
        began = asyncio.get_running_loop().time()
        result, _ = await run()
        assert result.error_message is None
        took = asyncio.get_running_loop().time() - began
        assert took < 2 + 3, "the agent works for 2 s"


POD_SECURITY_REFUSAL = 'pods "j" is forbidden: violates PodSecurity "restricted:latest": privileged'
QUOTA_REFUSAL = 'pods "j" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'


async def test_run_fails_within_seconds_if_pod_security_refuses_its_pod(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.pod_refusal = POD_SECURITY_REFUSAL
        began = asyncio.get_running_loop().time()
        result, host_log = await run()
        assert asyncio.get_running_loop().time() - began < 5
        assert result.error_code == "k8s_pod_schedule_failed"
        assert result.error_family is None
        assert POD_SECURITY_REFUSAL in (result.error_message or "")
        assert (result.error_message or "").count("violates PodSecurity") == 1
        assert f"FailedCreate: Error creating: {POD_SECURITY_REFUSAL}" in host_log.status
        assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
        assert count_jobs(fake) == 0


async def test_quota_that_is_freed_in_time_lets_the_run_succeed(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.pod_refusal = QUOTA_REFUSAL
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(60)
            fake.faults.pod_refusal = ""
        result, host_log = running.result()
        assert result.error_message is None
        assert "exceeded quota: q" in host_log.status


async def test_used_up_quota_fails_the_run_after_schedule_timeout_sec(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.pod_refusal = QUOTA_REFUSAL
        result, _ = await run(config={"scheduleTimeoutSec": 20})
        assert result.error_family == "transient_upstream"
        assert (result.error_message or "").count("exceeded quota") == 1
        assert "scheduleTimeoutSec is 20" in (result.error_message or "")


MISSING = ("ErrImagePull", 'failed to resolve reference "x:1": docker.io/library/x:1: not found')
BACK_OFF = ("ImagePullBackOff", 'Back-off pulling image "x:1"')


async def test_missing_image_fails_the_run_after_missing_image_timeout_sec(tmp_path: Path) -> None:
    waits = tuple((5.0, *state) for state in [MISSING, BACK_OFF] * 200)
    async with one_host(tmp_path, starting_after(*waits)) as (_, run):
        began = asyncio.get_running_loop().time()
        result, _ = await run()
        assert 60 <= asyncio.get_running_loop().time() - began < 65
        assert result.error_family is None
        assert "docker.io/library/x:1: not found" in (result.error_message or "")
        assert "missingImageTimeoutSec is 60" in (result.error_message or "")
        assert "correct the cause" in (result.error_message or "")


async def test_missing_secret_of_a_volume_fails_the_run_after_start_timeout_sec(tmp_path: Path) -> None:
    message = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
    async with one_host(tmp_path, starting_after((FOREVER, "ContainerCreating", ""))) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config={"startTimeoutSec": 30}))
            await asyncio.sleep(5)
            Events(fake.store).record(only(fake, PODS), "Warning", "FailedMount", message)
        result, _ = running.result()
        assert (result.error_message or "").count(message) == 1
        assert "startTimeoutSec is 30" in (result.error_message or "")


async def test_message_that_differs_only_in_a_container_id_is_reported_once(tmp_path: Path) -> None:
    waits = [(1.0, "CreateContainerError", f"cannot create container {n:064x}") for n in range(20)]
    async with one_host(tmp_path, starting_after(*waits)) as (_, run):
        result, host_log = await run()
        assert result.error_message is None
        assert host_log.status.count("cannot create container") == 1
