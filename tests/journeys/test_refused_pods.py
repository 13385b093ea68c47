"""The API server accepts a Job, but not its Pod, or the Pod's volumes: the message quotes the server.

An obstacle that stays fails the run within seconds. If it may pass, the run waits until a time limit.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support.programs import as_admin
from tests.support.real_cluster import wait_until
from tests.support.real_namespace import NAMESPACE
from tests.support.runs import Site

pytestmark = pytest.mark.real
SOON = 60.0
"""Seconds within which a final refusal ends a run, even on a busy machine. Time limits are 120 s."""
TOO_LARGE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "too-large"},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "local/agent:1",
                "resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            }
        ]
    },
}
"""A Pod that each limit of these tests refuses, and Pod Security as well."""


async def apply(*objects: dict[str, Any]) -> None:
    await as_admin(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )


async def wait_until_refused() -> None:
    """Wait until the API server applies a limit that was just created."""

    async def refused() -> bool:
        # `as_admin` raises an error if the server refuses the Pod. With --dry-run the server creates nothing.
        with suppress(AssertionError):
            await as_admin("create", "--dry-run=server", "-f", "-", stdin=json.dumps(TOO_LARGE))
            return False
        return True

    await wait_until(refused)


@pytest.fixture
async def pod_quota_used_up() -> AsyncIterator[None]:
    """A ResourceQuota of one Pod, which the home Pod of the Paperclip host uses."""
    await as_admin("create", "quota", "no-more", "--hard=pods=1")

    async def counted() -> bool:
        return await as_admin("get", "quota", "no-more", "-o", "jsonpath={.status.used.pods}") == "1"

    await wait_until(counted)  # before that, the server refuses Pods with other words
    yield
    await as_admin("delete", "quota", "no-more")


@pytest.mark.usefixtures("pod_quota_used_up")
async def test_refused_pod_is_explained_by_its_event(real: Site) -> None:
    result, host_log = await real.run(config={"scheduleTimeoutSec": 15})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert result.error_family == "transient_upstream"
    assert "exceeded quota: no-more" in (result.error_message or "")
    assert "scheduleTimeoutSec is 15" in (result.error_message or "")
    assert "FailedCreate" in host_log.status
    assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
    assert await real.leftovers() == []


@pytest.fixture
async def limit_range(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A LimitRange with the parameter as its limit of each container."""
    limits = [{"type": "Container", **request.param}]
    await apply(
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": limits}}
    )
    await wait_until_refused()
    yield
    await as_admin("delete", "limitrange", "limits")


@pytest.mark.parametrize(
    ("limit_range", "text"),
    [
        ({"max": {"memory": "16Mi"}}, "maximum memory usage per Container is 16Mi"),
        ({"maxLimitRequestRatio": {"memory": "3"}}, "memory max limit to request ratio per Container is 3"),
    ],
    indirect=["limit_range"],
)
@pytest.mark.usefixtures("limit_range")
async def test_pod_beyond_the_limit_range_fails_the_run_at_once(real: Site, text: str) -> None:
    await assert_refused_at_once(real, {}, text)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"serviceAccountName": "nobody"}, 'serviceaccount "nobody" not found'),
        ({"priorityClassName": "unknown"}, "no PriorityClass with name unknown was found"),
        ({"runtimeClassName": "gvisor"}, 'RuntimeClass "gvisor" not found'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_pod_that_names_a_missing_object_fails_the_run_at_once(
    real: Site, config: dict[str, Any], text: str
) -> None:
    await assert_refused_at_once(real, config, text)


async def test_pod_whose_claim_is_missing_fails_the_run_at_once(real: Site) -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "nothing"}}
    config = {"podTemplate": {"spec": {"volumes": [volume]}}}
    await assert_refused_at_once(real, config, 'persistentvolumeclaim "nothing" not found')


async def test_volume_of_a_missing_secret_fails_the_run_after_start_timeout_sec(real: Site) -> None:
    volume = {"name": "keys", "secret": {"secretName": "nothing"}}
    mount = {"name": "claude", "volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}
    template = {"spec": {"volumes": [volume], "containers": [mount]}}
    agent = {"id": f"agent-{uuid.uuid4().hex[:8]}", "companyId": "co"}
    result, _ = await real.run(config={"podTemplate": template, "startTimeoutSec": 10}, agent=agent)
    # The kubelet deletes a Pod that waits for a volume only when it tries the volume again, after a minute.
    label = f"paperclip.io/agent-id={agent['id']}"
    await as_admin("delete", "pods", "-l", label, "--force", "--grace-period=0", "--wait=false")
    assert result.error_code == "k8s_pod_schedule_failed"
    assert (result.error_message or "").count('secret "nothing" not found') == 1
    assert "startTimeoutSec is 10" in (result.error_message or "")
    assert await real.leftovers() == []


@pytest.fixture
async def restricted_namespace() -> AsyncIterator[None]:
    """Pod Security `restricted` is enforced; servers before 1.23 do not offer it."""
    version = json.loads(await as_admin("version", "-o", "json"))["serverVersion"]
    if int(version["minor"].rstrip("+")) < 23:
        pytest.skip("this server does not enforce Pod Security")
    label = "pod-security.kubernetes.io/enforce"
    await as_admin("label", "namespace", NAMESPACE, f"{label}=restricted")
    await wait_until_refused()
    yield
    await as_admin("label", "namespace", NAMESPACE, f"{label}-")


@pytest.mark.usefixtures("restricted_namespace")
async def test_pod_that_violates_pod_security_fails_the_run_at_once(real: Site) -> None:
    await assert_refused_at_once(real, {"runAsUser": 0}, 'violates PodSecurity "restricted:latest"')
    result, _ = await real.run()
    assert result.error_message is None


async def assert_refused_at_once(real: Site, config: dict[str, Any], text: str) -> None:
    """Check that the run ends within `SOON`, is not retryable, quotes the server, and leaves no object."""
    began = asyncio.get_running_loop().time()
    result, host_log = await real.run(config=config)
    assert result.error_code == "k8s_pod_schedule_failed"
    assert text in (result.error_message or "")
    assert "correct the cause" in (result.error_message or "")
    assert result.error_family is None, host_log.status
    assert asyncio.get_running_loop().time() - began < SOON
    assert await real.leftovers() == []
