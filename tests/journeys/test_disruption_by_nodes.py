"""Pods that a taint or the scheduler evicts. Each test affects the whole node, so they run one by one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.programs import as_admin
from tests.support.real_cluster import MOMENTS, Stamps, disrupt, wait_until
from tests.support.runs import Site

pytestmark = pytest.mark.real
GREEDY = "greedy"
"""Name of a Pod that preempts the agent's Pod, and of its priority class."""


async def taint_until_pod_is_deleted(pod: str, _job: str) -> None:
    """Taint the node until the Pod is being deleted, so that the next Pod of the agent can start."""

    async def deleted() -> bool:
        found = await as_admin("get", "pod", pod, "--ignore-not-found", "-o", "json")
        return not found or "deletionTimestamp" in json.loads(found)["metadata"]

    await as_admin("taint", "node", "--all", "test=drain:NoExecute", "--overwrite")
    try:
        await wait_until(deleted)
    finally:
        await as_admin("taint", "node", "--all", "test:NoExecute-", "--overwrite")


async def test_evicting_taint_is_named_as_the_cause(real: Site) -> None:
    stamps = Stamps.fresh()
    tolerate_all = '[{"op":"add","path":"/spec/tolerations/-","value":{"operator":"Exists"}}]'
    # otherwise the taint evicts the home Pod, too
    await as_admin("patch", "pod", "paperclip-0", "--type=json", "-p", tolerate_all)
    result, host_log = await disrupt(
        real, taint_until_pod_is_deleted, MOMENTS["in the middle"], stamps, config={"tolerations": []}
    )
    stamps.assert_one_at_a_time(at_most=2)
    assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
    message = (result.error_message or "").lower()
    assert "taint" in message, "neither the taint manager's condition nor its Event is reported"


@asynccontextmanager
async def priority_class() -> AsyncIterator[None]:
    body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000000}
    await as_admin("apply", "-f", "-", stdin=json.dumps({**body, "metadata": {"name": GREEDY}}))
    try:
        yield
    finally:
        await as_admin("delete", "pod", GREEDY, "--ignore-not-found", "--wait=true")
        await as_admin("delete", "priorityclass", GREEDY)


async def preempt(_pod: str, _job: str) -> None:
    """Create a Pod of higher priority that does not fit on the node together with the agent."""
    resources = {"requests": {"cpu": "1500m"}}
    container = {"name": "c", "image": "local/agent:1", "imagePullPolicy": "Never", "resources": resources}
    spec = {
        "priorityClassName": GREEDY,
        "terminationGracePeriodSeconds": 1,
        "containers": [{**container, "command": ["sleep", "120"]}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": GREEDY}, "spec": spec}
    await as_admin("apply", "-f", "-", stdin=json.dumps(pod))


async def test_preempting_pod_is_named_as_the_cause(real: Site) -> None:
    stamps = Stamps.fresh()
    async with priority_class():
        result, host_log = await disrupt(
            real, preempt, MOMENTS["in the middle"], stamps, first_config={"resources.requests.cpu": "1500m"}
        )
    stamps.assert_one_at_a_time(at_most=2)
    assert result.error_code == "k8s_pod_disrupted", (result.error_message, host_log.status)
    assert "preempt" in (result.error_message or "").lower()
