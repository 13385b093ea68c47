"""The printed Role suffices: with only its rights, runs and environment tests succeed."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from tests.checks.harness import check_of, open_harness, problems
from tests.support.runs import SMALL_REQUESTS

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.checks.rights import RIGHTS, Right
from paperclip_claude_k8s.checks.role import Account, access_objects, to_yaml
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.devcluster.kinds import ALL, JOBS, PODS, SECRETS, VERBS
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog, PodScript, capture


@pytest.fixture
async def strict_cluster() -> AsyncIterator[DevCluster]:
    """A cluster that allows exactly what the printed Role grants."""
    async with DevCluster.start() as cluster:
        text = to_yaml(access_objects(cluster.namespace, Account(cluster.namespace, "paperclip")))
        (role,) = (doc for doc in yaml.safe_load_all(text) if doc["kind"] == "Role")
        rules = role["rules"]
        granted = {(verb, name) for rule in rules for name in rule["resources"] for verb in rule["verbs"]}
        everything = {(verb, name) for name in (*(k.plural for k in ALL), "pods/log") for verb in VERBS}
        cluster.faults.denied |= everything - granted
        assert cluster.faults.denied
        yield cluster


async def test_role_suffices_for_a_run(strict_cluster: DevCluster) -> None:
    adapter, host_log = Adapter(ProcessSettings(env={})), HostLog()
    try:
        result = await adapter.execute(
            {
                "runId": str(uuid.uuid4()),
                "agent": {"id": "ada"},
                "config": {**SMALL_REQUESTS, "kubeconfig": str(strict_cluster.kubeconfig), "image": "x"},
                "onLog": host_log.on_log,
            }
        )
    finally:
        await adapter.shutdown()
    assert result.error_message is None
    assert "forbidden" not in host_log.status
    assert [list(strict_cluster.store.list(kind)) for kind in (JOBS, PODS)] == [[], []]
    assert list(strict_cluster.store.list(SECRETS)) == []


async def test_role_suffices_for_the_environment_test(strict_cluster: DevCluster) -> None:
    adapter = Adapter(ProcessSettings(env={}))
    config = {"kubeconfig": str(strict_cluster.kubeconfig), "image": "x", "env": {"ANTHROPIC_API_KEY": "k"}}
    try:
        checkup = await adapter.test_environment({"config": config, "probe": True})
    finally:
        await adapter.shutdown()
    assert [check.code for check in problems(checkup)] == ["k8s_pvc_not_detected"]
    assert check_of(checkup, "k8s_probe_passed")


async def test_denied_right_is_reported_over_http(strict_cluster: DevCluster) -> None:
    strict_cluster.faults.denied.add(("watch", "pods"))
    adapter = Adapter(ProcessSettings(env={}))
    config = {"kubeconfig": str(strict_cluster.kubeconfig), "image": "x", "env": {"ANTHROPIC_API_KEY": "k"}}
    try:
        checkup = await adapter.test_environment({"config": config})
    finally:
        await adapter.shutdown()
    assert [check.code for check in problems(checkup)] == ["k8s_rbac_pod_watch", "k8s_pvc_not_detected"]


async def test_server_warnings_are_decoded_over_http(strict_cluster: DevCluster) -> None:
    warnings = ['would violate PodSecurity "restricted:latest"', "a \\ b, 299 - c"]
    strict_cluster.faults.warnings.extend(warnings)
    adapter = Adapter(ProcessSettings(env={}))
    try:
        config = {"kubeconfig": str(strict_cluster.kubeconfig), "image": "x"}
        checkup = await adapter.test_environment({"config": config})
    finally:
        await adapter.shutdown()
    messages = [check.message for check in checkup.checks if check.code == "k8s_job_warning"]
    assert messages == [f"The API server warns about the Job: {text}" for text in warnings]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "right", [right for right in RIGHTS if right.level == "warn"], ids=lambda right: right.code
)
async def test_run_succeeds_although_an_optional_right_is_missing(tmp_path: Path, right: Right) -> None:
    pod_script = PodScript(output=((0.0, capture("02")),), ends_at=2.0)
    async with open_harness(tmp_path, pod_script) as harness:
        harness.fake.faults.denied.add((right.access.verb, right.resource))
        host_log = HostLog()
        result = await harness.adapter.execute(
            {
                "runId": "run-1",
                "agent": {"id": "ada"},
                "config": {"kubeconfig": "fake", "image": "x"},
                "onLog": host_log.on_log,
            }
        )
        assert result.error_message is None
        assert host_log.stdout.encode() == capture("02")
        assert list(harness.fake.store.list(JOBS)) == []
