"""How the home pod is found, what runs inherit from it, and what they report if it is not found."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.devcluster.kinds import JOBS, NAMESPACES, PODS
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog

pytestmark = pytest.mark.looptime
LONG_NAME = "paperclip-" + "x" * 60
NO_HOME_NEEDED = {"kubeconfig": "/k", "image": "own/image:1"}
"""Settings with which a run needs no home pod."""
Spec = dict[str, Any]


@asynccontextmanager
async def host(
    folder: Path, env: Mapping[str, str], pod_name: str = "paperclip-0", policy: Policy | None = None
) -> AsyncIterator[tuple[FakeCluster, Adapter]]:
    """A host with this environment on a cluster with one home pod, whose image is `home/image:1`."""
    async with FakeCluster.start(folder, GOOD) as fake:
        container = {
            "name": "paperclip",
            "image": "home/image:1",
            "env": [{"name": "TEAM", "value": "blue"}],
            "volumeMounts": [{"name": "v", "mountPath": "/paperclip"}],
        }
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
        pod = {"spec": {"containers": [container], "volumes": [volume]}, "status": {}}
        fake.store.create(PODS, {"metadata": {"name": pod_name, "namespace": NAMESPACE}, **pod})
        variables = {"PAPERCLIP_NAMESPACE": NAMESPACE, **env}
        settings = ProcessSettings(env=variables, policy=policy or Policy())
        adapter = Adapter(settings, lambda *_: fake.gateway)
        try:
            yield fake, adapter
        finally:
            await adapter.shutdown()


async def run(fake: FakeCluster, adapter: Adapter, **config: Any) -> tuple[ExecutionResult, HostLog, Spec]:
    """The result, the host's log, and the spec of the Job's Pod; {} if there was no Job."""
    host_log = HostLog()
    specs: list[Spec] = [{}]

    async def on_log(stream: str, text: str) -> None:
        specs.extend(job["spec"]["template"]["spec"] for job in fake.store.list(JOBS))
        await host_log.on_log(stream, text)

    ctx = {"runId": "r", "agent": {"id": "a"}, "config": config, "onLog": on_log}
    result = await adapter.execute(ctx)
    return result, host_log, specs[-1]


def image_and_claims(spec: Spec) -> tuple[str, list[str]]:
    claims = [v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
    return spec["containers"][0]["image"], [claim["claimName"] for claim in claims]


@pytest.mark.parametrize(
    "env",
    [
        {"HOSTNAME": "paperclip-0"},
        {"POD_NAME": "paperclip-0", "HOSTNAME": "node-7"},
        {"POD_NAME": "wrong", "HOSTNAME": "paperclip-0"},
    ],
)
async def test_home_pod_is_found_by_pod_name_then_hostname(tmp_path: Path, env: dict[str, str]) -> None:
    async with host(tmp_path, env) as (fake, adapter):
        result, _, spec = await run(fake, adapter)
        assert result.error_message is None
        assert image_and_claims(spec) == ("home/image:1", ["data"])


async def test_home_pod_whose_name_is_cut_in_hostname_is_found(tmp_path: Path) -> None:
    async with host(tmp_path, {"HOSTNAME": LONG_NAME[:63]}, LONG_NAME) as (fake, adapter):
        result, _, spec = await run(fake, adapter)
        assert result.error_message is None
        assert image_and_claims(spec) == ("home/image:1", ["data"])


async def test_home_pod_with_host_network_is_found_by_its_token(tmp_path: Path) -> None:
    async with host(tmp_path, {"HOSTNAME": "node-7"}) as (fake, adapter):
        fake.connection.own_pod_name = "paperclip-0"
        result, _, spec = await run(fake, adapter)
        assert result.error_message is None
        assert image_and_claims(spec) == ("home/image:1", ["data"])


def home_mounts(spec: Spec) -> list[dict[str, Any]]:
    return [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "home"]


async def test_claim_of_the_config_is_mounted_as_home_if_the_host_runs_outside_a_pod(tmp_path: Path) -> None:
    async with host(tmp_path, {}) as (fake, adapter):
        result, host_log, spec = await run(fake, adapter, **NO_HOME_NEEDED, claimName="agents-home")
        assert result.error_message is None
        assert image_and_claims(spec) == ("own/image:1", ["agents-home"])
        assert home_mounts(spec) == [{"name": "home", "mountPath": "/paperclip"}]
        assert "claim" not in host_log.status


async def test_claim_of_the_config_replaces_that_of_the_home_pod(tmp_path: Path) -> None:
    async with host(tmp_path, {"HOSTNAME": "paperclip-0"}) as (fake, adapter):
        result, _, spec = await run(fake, adapter, claimName="agents-home")
        assert result.error_message is None
        assert image_and_claims(spec) == ("home/image:1", ["agents-home"])
        assert {"name": "TEAM", "value": "blue"} in spec["containers"][0]["env"]


async def test_company_folders_are_only_on_the_claim_of_the_home_pod(tmp_path: Path) -> None:
    """Otherwise `podTemplate` could mount the home pod's claim with the folders of all companies."""
    policy = Policy(company_volumes=True)
    template = {"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}}
    async with host(tmp_path, {"HOSTNAME": "paperclip-0"}, policy=policy) as (fake, adapter):
        result, _, spec = await run(fake, adapter, claimName="agents-home", podTemplate=template)
        assert result.error_code == "k8s_policy_refused"
        assert "claimName" in (result.error_message or "")
        assert spec == {}
        result, _, spec = await run(fake, adapter, claimName="data")
        assert result.error_message is None
        assert home_mounts(spec)[0]["subPath"] == "companies/none"


async def test_claim_of_config_and_home_pod_is_mounted_as_in_the_home_pod(tmp_path: Path) -> None:
    async with host(tmp_path, {"HOSTNAME": "paperclip-0"}) as (fake, adapter):
        mount = {"name": "v", "mountPath": "/paperclip", "subPath": "team-a"}

        def change(pod: dict[str, Any]) -> None:
            pod["spec"]["containers"][0]["volumeMounts"] = [mount]

        fake.store.update(PODS, NAMESPACE, "paperclip-0", change)
        result, _, spec = await run(fake, adapter, claimName="data")
        assert result.error_message is None
        assert image_and_claims(spec) == ("home/image:1", ["data"])
        assert home_mounts(spec) == [{"name": "home", "mountPath": "/paperclip", "subPath": "team-a"}]


async def test_unknown_home_pod_on_the_host_network_is_reported_with_a_hint(tmp_path: Path) -> None:
    async with host(tmp_path, {"HOSTNAME": "node-7"}) as (fake, adapter):
        result, _, _ = await run(fake, adapter)
        assert result.error_code == "k8s_home_pod_unavailable"
        assert "POD_NAME (`fieldRef: metadata.name`)" in (result.error_message or "")


async def test_host_outside_a_pod_gets_a_hint_with_which_a_run_succeeds(tmp_path: Path) -> None:
    async with host(tmp_path, {}) as (fake, adapter):
        result, _, _ = await run(fake, adapter, kubeconfig="/k")
        assert result.error_code == "k8s_home_pod_unavailable"
        assert "does not run in a Pod" in (result.error_message or "")
        assert "set `kubeconfig` and `image`" in (result.error_message or "")
        result, _, spec = await run(fake, adapter, **NO_HOME_NEEDED)
        assert result.error_message is None
        assert image_and_claims(spec) == ("own/image:1", [])


async def test_run_with_kubeconfig_and_image_still_inherits_from_its_home_pod(tmp_path: Path) -> None:
    async with host(tmp_path, {"HOSTNAME": "paperclip-0"}) as (fake, adapter):
        result, _, spec = await run(fake, adapter, **NO_HOME_NEEDED)
        assert result.error_message is None
        assert image_and_claims(spec) == ("own/image:1", ["data"])
        assert "TEAM" in {entry["name"] for entry in spec["containers"][0]["env"]}


async def test_home_pod_of_another_cluster_is_read_once_by_runs_within_a_minute(tmp_path: Path) -> None:
    env = {"HOSTNAME": "elsewhere", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    async with host(tmp_path, env) as (fake, adapter):
        for _ in range(3):
            result, host_log, spec = await run(fake, adapter, **NO_HOME_NEEDED)
            assert result.error_message is None
            assert "home pod" not in host_log.status
            assert image_and_claims(spec) == ("own/image:1", [])
        assert fake.calls.made.count(("get", "pods", "elsewhere")) == 1


async def test_unreadable_home_pod_that_is_not_needed_is_reported(tmp_path: Path) -> None:
    async with host(tmp_path, {"POD_NAME": "paperclip-0"}) as (fake, adapter):
        fake.faults.denied.add(("get", "pods"))
        result, host_log, _ = await run(fake, adapter, **NO_HOME_NEEDED)
        assert result.error_message is None
        assert "Nothing is inherited from the home pod" in host_log.status


async def test_run_that_needs_no_home_pod_inherits_from_none_in_another_namespace(tmp_path: Path) -> None:
    async with host(tmp_path, {"POD_NAME": "paperclip-0"}) as (fake, adapter):
        fake.store.create(NAMESPACES, {"metadata": {"name": "agents"}})
        config = {**NO_HOME_NEEDED, "namespace": "agents", "imagePullTimeoutSec": 1}
        # The fake kubelet starts no Pod in this namespace, so the run ends soon.
        _, host_log, spec = await run(fake, adapter, **config)
        assert image_and_claims(spec) == ("own/image:1", [])
        assert f"it is in namespace {NAMESPACE}" in host_log.status
