"""The table of rights matches the calls of `Gateway`, and the Role grants exactly those rights."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from paperclip_claude_k8s.checks.rights import RIGHTS
from paperclip_claude_k8s.checks.role import NAME, Account, access_objects, to_yaml
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.model import JobRef, PodSnapshot, SecretSnapshot
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest
from paperclip_claude_k8s.devcluster.target import Target, parse_target
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster

NEEDED = {(right.access.group, right.resource, right.access.verb) for right in RIGHTS}


def manifests(*, account: str = "paperclip", network_policy: bool = False) -> list[dict[str, Any]]:
    objects = access_objects("agents", Account.read(account, "agents"), network_policy=network_policy)
    return list(yaml.safe_load_all(to_yaml(objects)))


def rights_in(role: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    return Counter(
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


async def call_everything(gateway: Gateway) -> None:
    """Call every method of `Gateway` for which every host needs a right. Ignore errors."""
    job: dict[str, object] = {"metadata": {"name": "x"}}
    manifest: dict[str, object] = {"metadata": {"name": "s"}}
    ref = JobRef(NAMESPACE, "missing", "uid")
    for call in (
        lambda: gateway.home_pod(NAMESPACE, "missing", "c"),
        lambda: gateway.create_job(NAMESPACE, job),
        lambda: gateway.read_job(NAMESPACE, "missing"),
        lambda: gateway.list_jobs(NAMESPACE, {}),
        lambda: gateway.patch_job(ref, []),
        lambda: gateway.delete_job(ref, "Background"),
        lambda: anext(gateway.watch_jobs(NAMESPACE, {}, "-1")),
        lambda: gateway.read_pod(NAMESPACE, "missing"),
        lambda: gateway.list_pods(NAMESPACE, {}),
        lambda: anext(gateway.watch_pods(NAMESPACE, {}, "-1")),
        lambda: gateway.log(LogRequest(NAMESPACE, "missing", "c")).__aenter__(),
        lambda: gateway.create_secret(NAMESPACE, manifest),
        lambda: gateway.delete_pod(PodSnapshot(NAMESPACE, "missing", "uid")),
        lambda: gateway.read_secret(NAMESPACE, "s"),
        lambda: gateway.patch_secret(SecretSnapshot(NAMESPACE, "s", "uid"), []),
        lambda: gateway.delete_secret(SecretSnapshot(NAMESPACE, "s", "uid")),
        lambda: gateway.read_claim(NAMESPACE, "missing"),
        lambda: gateway.list_events(NAMESPACE, "uid"),
        lambda: gateway.try_pod(NAMESPACE, manifest),
        lambda: gateway.read_lease(NAMESPACE, "missing"),
        lambda: gateway.list_leases(NAMESPACE, {}),
        lambda: gateway.create_lease(NAMESPACE, manifest),
        lambda: gateway.replace_lease(NAMESPACE, manifest),
        lambda: gateway.delete_lease(NAMESPACE, "s", "1"),
    ):
        try:
            await call()
        except (ClusterError, StopAsyncIteration):
            continue


@pytest.mark.looptime
async def test_rights_are_exactly_those_that_calls_of_the_gateway_need(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path) as fake:
        await call_everything(fake.gateway)
        assert {(verb, resource) for verb, resource, _ in fake.calls.made} == {
            (verb, resource) for _, resource, verb in NEEDED
        }


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.code)
def test_each_right_names_a_resource_with_its_api_group(right: Any) -> None:
    root = f"/apis/{right.access.group}/v1" if right.access.group else "/api/v1"
    target = parse_target(f"{root}/namespaces/ns/{right.access.resource}")
    assert isinstance(target, Target)


def test_right_codes_are_unique_and_contain_those_of_the_typescript_adapter() -> None:
    codes = [right.code for right in RIGHTS]
    assert len(set(codes)) == len(codes)
    typescript = {
        f"k8s_rbac_{right}" for right in ("job_create", "job_delete", "job_get", "pod_list", "pod_log")
    }
    assert typescript <= set(codes)
    assert {right.level for right in RIGHTS if right.code in typescript} == {"error"}


def test_role_grants_exactly_the_rights() -> None:
    role, _ = manifests()
    assert rights_in(role) == Counter(NEEDED)


def test_role_has_no_wildcard_and_no_cluster_scope() -> None:
    for text in (to_yaml(manifests()), to_yaml(manifests(account="host:paperclip", network_policy=True))):
        assert "*" not in text
        assert "Cluster" not in text


def test_binding_gives_the_role_to_the_account() -> None:
    role, binding = manifests(account="runner")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "runner", "namespace": "agents"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == NAME
    assert {doc["metadata"]["namespace"] for doc in (role, binding)} == {"agents"}


def test_host_in_another_namespace_may_read_its_own_pod() -> None:
    _, binding, home_role, home_binding = manifests(account="host:runner")
    assert binding["subjects"][0] == home_binding["subjects"][0]
    assert binding["subjects"][0]["namespace"] == "host"
    assert home_role["metadata"]["namespace"] == "host"
    assert rights_in(home_role) == Counter({("", "pods", "get"): 1})


def test_network_policy_denies_ingress_private_addresses_and_other_dns_servers() -> None:
    policy = manifests(network_policy=True)[-1]
    assert policy["kind"] == "NetworkPolicy"
    spec = policy["spec"]
    assert spec["podSelector"]["matchLabels"] == {"paperclip.io/adapter-type": "claude_k8s"}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == []
    blocks = [peer["ipBlock"] for rule in spec["egress"] for peer in rule.get("to", []) if "ipBlock" in peer]
    outside = {block["cidr"]: block.get("except", []) for block in blocks}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(outside["0.0.0.0/0"])
    assert {"fc00::/7", "fe80::/10"} <= set(outside["::/0"])
    assert all(rule["ports"] and rule["to"] for rule in spec["egress"])


def test_network_policy_is_optional() -> None:
    assert [doc["kind"] for doc in manifests()] == ["Role", "RoleBinding"]
