"""A run's Pod is disrupted on a real cluster: two agents never run at the same time, and the cause is named.

The agent continues for ten seconds after SIGTERM, within its grace period. Each agent records on the shared
volume when it ran, so that two agents at the same time are detected, whatever started them. After the
disrupted run, the same agent is run again immediately.
"""

import asyncio
import json
import os
import uuid

import pytest
from tests.support.file_event import FileEvent
from tests.support.programs import as_admin
from tests.support.real_cluster import LAST_LINE, MOMENTS, Disruption, Stamps, disrupt, stamping_agent
from tests.support.real_namespace import NAMESPACE
from tests.support.runs import Site

from paperclip_claude_k8s.cluster.labels import JOB_NAME_LABEL
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real
ROUNDS = int(os.environ.get("DISRUPTION_ROUNDS", "1"))
"""How often each disruption is tried at each moment."""
REPLACED_WITHIN = 15.0
"""Seconds within which the Job controller replaces a Pod that it no longer finds, and the new Pod starts."""


async def delete(pod: str, _job: str) -> None:
    await as_admin("delete", "pod", pod, "--wait=false")


async def delete_by_force(pod: str, _job: str) -> None:
    await as_admin("delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")


async def evict(pod: str, _job: str) -> None:
    group = "policy/v1" if await server_version() >= (1, 22) else "policy/v1beta1"
    body = {"apiVersion": group, "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    await as_admin("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


async def scale_down(_pod: str, job: str) -> None:
    await as_admin("patch", "job", job, "--type=merge", "-p", '{"spec":{"parallelism":0}}')


async def suspend(_pod: str, job: str) -> None:
    await as_admin("patch", "job", job, "--type=merge", "-p", '{"spec":{"suspend":true}}')


async def delete_job(_pod: str, job: str) -> None:
    await as_admin("delete", "job", job, "--wait=false")


async def server_version() -> tuple[int, int]:
    found = json.loads(await as_admin("get", "--raw", "/version"))
    return int(found["major"]), int(found["minor"].rstrip("+"))


DISRUPTIONS: dict[str, tuple[Disruption, str]] = {
    "deleted": (delete, "PodDeleted"),
    "deleted by force": (delete_by_force, "PodDeleted"),
    "evicted": (evict, ""),
}
"""Name → disruption, and a part of the error message of the run."""


@pytest.mark.slow
@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize("way", DISRUPTIONS)
async def test_disrupted_pod_never_runs_beside_its_replacement(real: Site, way: str, when: str) -> None:
    disruption, reason = DISRUPTIONS[way]
    stamps = [Stamps.fresh() for _ in range(ROUNDS)]
    limit = asyncio.Semaphore(5)

    async def disrupt_one(own_stamps: Stamps) -> tuple[ExecutionResult, HostLog]:
        async with limit:
            return await disrupt(real, disruption, MOMENTS[when], own_stamps)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(disrupt_one(each)) for each in stamps]
    for task, own_stamps in zip(tasks, stamps, strict=True):
        result, host_log = task.result()
        own_stamps.assert_one_at_a_time(at_most=2)
        if result.error_code is None:  # an old kubelet can miss a deletion while it starts the container
            assert when in {"as its Pod appears", "while its Pod starts"}
            assert LAST_LINE in host_log.stdout
            continue
        assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
        assert result.error_family == "transient_upstream"
        assert reason in (result.error_message or "")
        agent_ran = len(own_stamps.spans()) == 2
        reported = (result.execution_recovery or {}).get("providerWorkStarted")
        assert not (agent_ran and reported is False), "the agent ran, but providerWorkStarted is false"


async def unlabel_pod(pod: str, _job: str) -> None:
    """Remove one label, the adapter's: the Job controller still finds the Pod."""
    await as_admin("label", "pod", pod, "paperclip.io/adapter-type-")


async def release_pod(pod: str, _job: str) -> None:
    """Remove all labels: the Job controller releases the Pod."""
    await as_admin("patch", "pod", pod, "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels"}]')


async def relabel_job(_pod: str, job: str) -> None:
    await as_admin(
        "label",
        "job",
        job,
        "paperclip.io/adapter-type-",
        "paperclip.io/agent-id=somebody-else",
        "--overwrite",
    )


@pytest.mark.slow
@pytest.mark.parametrize("when", ["while its Pod starts", "in the middle"])
@pytest.mark.parametrize("disruption", [unlabel_pod, relabel_job, release_pod])
async def test_run_survives_the_removal_of_labels(real: Site, disruption: Disruption, when: str) -> None:
    """A run fails only if its Pod is released before the agent starts; then the agent never starts."""
    stamps = Stamps.fresh()
    result, host_log = await disrupt(real, disruption, MOMENTS[when], stamps, noticed_within=REPLACED_WITHIN)
    stamps.assert_one_at_a_time(at_most=2)
    if disruption is release_pod and len(stamps.spans()) == 1:  # only the second run had an agent
        assert when == "while its Pod starts"
        assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
        assert "PodReleased" in (result.error_message or "")
        assert result.error_family == "transient_upstream"
        return
    assert result.error_code is None, (result.error_message, host_log.status)
    assert host_log.stdout.startswith("line 1\n")
    assert LAST_LINE in host_log.stdout
    assert (result.result_json or {})["log"]["complete"] is True


@pytest.mark.parametrize(
    ("disruption", "reason", "oldest_version"),
    [(scale_down, "JobScaledDown", (1, 20)), (suspend, "JobSuspended", (1, 24))],
)
async def test_suspended_or_scaled_down_job_is_named_as_the_cause(
    real: Site, disruption: Disruption, reason: str, oldest_version: tuple[int, int]
) -> None:
    if await server_version() < oldest_version:
        pytest.skip(f"this needs a server of version {oldest_version} or later")
    stamps = Stamps.fresh()
    result, host_log = await disrupt(real, disruption, MOMENTS["in the middle"], stamps)
    stamps.assert_one_at_a_time(at_most=2)
    assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
    assert reason in (result.error_message or "")


async def test_deleted_job_is_named_as_the_cause(real: Site) -> None:
    stamps = Stamps.fresh()
    result, host_log = await disrupt(real, delete_job, MOMENTS["in the middle"], stamps)
    stamps.assert_one_at_a_time(at_most=2)
    assert result.error_code == "k8s_job_deleted_externally", (result.error_message, host_log.status)


async def test_retained_job_of_a_deleted_pod_finishes_so_that_its_ttl_starts(real: Site) -> None:
    host_log, identity = HostLog(), {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    script = {"CLAUDE_SCRIPT": stamping_agent(Stamps.fresh().in_pod, FileEvent.on_volume())}
    async with asyncio.TaskGroup() as group:
        running = group.create_task(
            real.run(script, host_log=host_log, agent=identity, config={"retainJobs": True})
        )
        await MOMENTS["at its first line"](host_log)
        job = host_log.status.partition("Created K8s Job: ")[2].split(" ", 1)[0]
        await as_admin("delete", "pod", "-l", f"{JOB_NAME_LABEL}={job}", "--wait=false")
    result, _ = running.result()
    assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
    await as_admin("wait", f"job/{job}", "--for=condition=Failed", "--timeout=30s")
    await as_admin("delete", "job", job)
