"""Runs in a queue of Kueue on a real cluster: held, drained and preempted.

Skipped unless `KUEUE_RUNS` is set, which says that Kueue runs, and that the namespace `paperclip` has a local
queue `agents` of 2 CPUs and a priority class `urgent`. Custom resources of Kueue do not show that Kueue runs:
they outlive it.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.programs import as_admin
from tests.support.real_cluster import MOMENTS, RESULT, Stamps, disrupt, wait_for_output, wait_until
from tests.support.runs import Site

from paperclip_claude_k8s.testing import HostLog

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("KUEUE_RUNS" not in os.environ, reason="KUEUE_RUNS is not set"),
]
QUEUED_CONFIG = {"queueName": "agents", "resources.requests.cpu": "1500m"}
URGENT_JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "name": "urgent",
        "namespace": "paperclip",
        "labels": {"kueue.x-k8s.io/queue-name": "agents"},
    },
    "spec": {
        "suspend": True,
        "backoffLimit": 0,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "priorityClassName": "urgent",
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "main",
                        "image": "local/agent:1",
                        "imagePullPolicy": "Never",
                        "command": ["sh", "-c", "sleep 15"],
                        "resources": {"requests": {"cpu": "1500m", "memory": "64Mi"}},
                    }
                ],
            }
        },
    },
}


async def set_stop_policy(policy: str) -> None:
    """`policy`: None admits Jobs, Hold admits no further ones, HoldAndDrain also stops admitted ones."""
    change = json.dumps({"spec": {"stopPolicy": policy}})
    await as_admin("patch", "clusterqueue", "agents", "--type=merge", "-p", change)


@pytest.fixture(autouse=True)
async def _queue() -> AsyncIterator[None]:
    """Before and after each test, the queue admits Jobs."""
    await set_stop_policy("None")
    yield
    await set_stop_policy("None")
    await as_admin("delete", "job", "urgent", "--ignore-not-found", "--cascade=foreground")


async def drain(_pod: str, job: str) -> None:
    """Stop every admitted workload, and let Kueue admit workloads again when it has suspended the Job."""

    async def suspended() -> bool:
        found = await as_admin("get", "job", job, "--ignore-not-found", "-o", "json")
        return not found or json.loads(found)["spec"]["suspend"]

    await set_stop_policy("HoldAndDrain")
    await wait_until(suspended)
    await set_stop_policy("None")


async def preempt(_pod: str, _job: str) -> None:
    """Submit a Job of higher priority that does not fit into the queue together with the agent."""
    await as_admin("create", "-f", "-", stdin=json.dumps(URGENT_JOB))


@pytest.mark.parametrize("when", ["when it is reported as running", "in the middle"])
@pytest.mark.parametrize(("disruption", "phrase"), [(drain, "stopped"), (preempt, "preempted")])
async def test_job_suspended_by_kueue_runs_one_agent_and_names_the_cause(
    real: Site, disruption: Any, phrase: str, when: str
) -> None:
    stamps = Stamps.fresh()
    result, host_log = await disrupt(real, disruption, MOMENTS[when], stamps, config=QUEUED_CONFIG)
    stamps.assert_one_at_a_time(at_most=2)
    assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
    assert result.error_family == "transient_upstream"
    assert "JobSuspended" in (result.error_message or "")
    assert phrase in (result.error_message or "").lower()


async def test_held_queue_delays_the_run(real: Site) -> None:
    await set_stop_policy("Hold")
    host_log = HostLog()
    async with asyncio.TaskGroup() as group:
        script = {"CLAUDE_SCRIPT": RESULT}
        running = group.create_task(real.run(script, host_log=host_log, config=QUEUED_CONFIG))
        await wait_for_output(host_log, "its queue will admit it")
        assert not running.done()
        await set_stop_policy("None")
    result, _ = running.result()
    assert result.error_code is None, (result.error_message, host_log.status)
