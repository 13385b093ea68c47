"""A config is refused under a policy that does not allow what it asks for, and runs under one that does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, assert_whole, count_jobs, one_host

from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES, SECRETS
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.config_admission import config_refusals
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster

SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Security context of a container that cannot become root."""


def pod(**spec: Any) -> dict[str, Any]:
    """A config with this Pod spec as `podTemplate`."""
    return {"podTemplate": {"spec": spec}}


def agent(**fields: Any) -> dict[str, Any]:
    """A config whose `podTemplate` adds these fields to the agent's container."""
    return pod(containers=[{"name": "claude", **fields}])


def security_context(**fields: Any) -> dict[str, Any]:
    """A config that sets these fields of the security context of the agent's container."""
    return agent(securityContext=fields)


def volume(**source: Any) -> dict[str, Any]:
    """A config that adds a volume with this source."""
    return pod(volumes=[{"name": "v", **source}])


AUTO = {"sessionVolume": "auto"}
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # policy, config, key in the message
    ({"kubeconfigs": ["/etc/kubernetes"]}, {"kubeconfig": "/srv/other"}, "kubeconfig"),
    ({"namespaces": ["agents-*"]}, {"namespace": "kube-system"}, "namespace"),
    ({"namespaces": ["agents-*"]}, {}, "namespace"),
    ({"images": ["registry.local/*"]}, {"image": "docker.io/evil"}, "image"),
    ({"images": ["x"]}, {"enableDocker": True, "dockerImage": "evil"}, "dockerImage"),
    ({"images": ["x"]}, agent(image="evil"), "podTemplate.spec.containers[claude].image"),
    ({"images": ["x"]}, pod(initContainers=[{"name": "i", "image": "evil"}]), "initContainers[i].image"),
    ({"images": ["x"]}, volume(image={"reference": "evil"}), "volumes[v].image.reference"),
    ({"serviceAccounts": ["agent"]}, {"serviceAccountName": "admin"}, "serviceAccountName"),
    ({"serviceAccounts": []}, pod(serviceAccountName="admin"), "podTemplate.spec.serviceAccountName"),
    ({"serviceAccounts": []}, pod(serviceAccount="admin"), "podTemplate.spec.serviceAccount"),
    ({"serviceAccountTokens": False}, {"serviceAccountName": "agent"}, "serviceAccountName"),
    ({"serviceAccountTokens": False}, pod(automountServiceAccountToken=True), "automountServiceAccountToken"),
    ({"serviceAccountTokens": False}, pod(automountServiceAccountToken=None), "automountServiceAccountToken"),
    (
        {"serviceAccountTokens": False},
        volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
        "sources[0].serviceAccountToken",
    ),
    ({"runtimeClasses": []}, {"runtimeClassName": "kata"}, "runtimeClassName"),
    ({"runtimeClasses": ["gvisor"]}, pod(runtimeClassName="runc"), "podTemplate.spec.runtimeClassName"),
    ({"priorityClasses": []}, {"priorityClassName": "high"}, "priorityClassName"),
    ({"priorityClasses": []}, pod(priorityClassName="high"), "podTemplate.spec.priorityClassName"),
    ({"queues": ["agents"]}, {"queueName": "vip"}, "queueName"),
    ({"queues": ["agents"]}, {"labels": {"kueue.x-k8s.io/queue-name": "vip"}}, "labels.kueue"),
    (
        {"queues": []},
        {"podTemplate": {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "vip"}}}},
        "podTemplate.metadata.labels.kueue",
    ),
    ({"priorityClasses": []}, {"labels": {"kueue.x-k8s.io/priority-class": "vip"}}, "labels.kueue"),
    ({"labels": ["team"]}, {"labels": {"team": "a", "app": "paperclip"}}, "labels.app"),
    (
        {"labels": ["team"]},
        {"podTemplate": {"metadata": {"labels": {"app": "paperclip"}}}},
        "podTemplate.metadata.labels.app",
    ),
    (
        {"annotations": ["example.com/*"]},
        {"podTemplate": {"metadata": {"annotations": {"iam.amazonaws.com/role": "admin"}}}},
        "podTemplate.metadata.annotations.iam.amazonaws.com/role",
    ),
    ({"tolerations": ["gpu"]}, {"tolerations": [{"key": "gpu"}, {"operator": "Exists"}]}, "tolerations"),
    ({"tolerations": []}, {"tolerations": [{"key": "node-role.kubernetes.io/control-plane"}]}, "tolerations"),
    ({"tolerations": []}, pod(tolerations=[{"key": "gpu"}]), "podTemplate.spec.tolerations"),
    ({"docker": False}, {"enableDocker": True}, "enableDocker"),
    ({"rootUser": False}, {"runAsUser": 0}, "runAsUser"),
    ({"rootUser": False}, security_context(runAsUser=0), "securityContext.runAsUser"),
    ({"rootUser": False}, pod(securityContext={"runAsNonRoot": False}), "securityContext.runAsNonRoot"),
    ({"rootUser": False}, security_context(allowPrivilegeEscalation=True), "allowPrivilegeEscalation"),
    ({"rootUser": False}, pod(securityContext={"$patch": "delete"}), "podTemplate.spec"),
    ({"rootUser": False}, security_context(allowPrivilegeEscalation=None), "podTemplate.spec"),
    ({"rootUser": False}, pod(containers=[{"name": "side", "image": "x"}]), "podTemplate.spec"),
    ({"podTemplate": False}, pod(), "podTemplate"),
    ({"claims": ["agents-*"]}, {"claimName": "postgres"}, "claimName"),
    (
        {"secrets": ["claude-*"]},
        {"env": {"KEY": {"valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}}},
        "env.KEY.valueFrom.secretKeyRef.name",
    ),
    (
        {"configMaps": []},
        {"env": {"KEY": {"configMapKeyRef": {"name": "c", "key": "k"}}}},
        "env.KEY.valueFrom.configMapKeyRef.name",
    ),
    ({"privileged": False}, security_context(privileged=True), "securityContext.privileged"),
    ({"privileged": False}, pod(securityContext={"seccompProfile": None}), "podTemplate.spec"),
    ({"privileged": False}, security_context(seccompProfile={"type": None}), "podTemplate.spec"),
    ({"privileged": False}, security_context(procMount="Unmasked"), "securityContext.procMount"),
    ({"privileged": False}, security_context(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions"),
    ({"privileged": False}, security_context(seccompProfile={"type": "Unconfined"}), "seccompProfile.type"),
    ({"privileged": False}, security_context(appArmorProfile={"type": "Unconfined"}), "appArmorProfile.type"),
    (
        {"privileged": False},
        security_context(windowsOptions={"hostProcess": True}),
        "windowsOptions.hostProcess",
    ),
    (
        {"privileged": False},
        pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        "securityContext.sysctls",
    ),
    (
        {"privileged": False},
        {
            "podTemplate": {
                "metadata": {
                    "annotations": {"container.apparmor.security.beta.kubernetes.io/claude": "unconfined"}
                }
            }
        },
        "podTemplate.metadata.annotations",
    ),
    ({"capabilities": []}, security_context(capabilities={"add": ["SYS_ADMIN"]}), "capabilities.add"),
    (
        {"capabilities": ["NET_*"]},
        security_context(capabilities={"add": ["NET_RAW", "BPF"]}),
        "capabilities.add",
    ),
    ({"capabilities": ["NET_*"]}, security_context(capabilities={"drop": None}), "podTemplate.spec"),
    ({"capabilities": []}, security_context(capabilities={"drop": ["NET_RAW"]}), "podTemplate.spec"),
    ({"hostNamespaces": False}, pod(hostNetwork=True), "podTemplate.spec.hostNetwork"),
    ({"hostNamespaces": False}, pod(hostPID=True), "podTemplate.spec.hostPID"),
    ({"hostNamespaces": False}, pod(hostIPC=True), "podTemplate.spec.hostIPC"),
    ({"hostNamespaces": False}, agent(ports=[{"containerPort": 1, "hostPort": 1}]), "ports[0].hostPort"),
    (
        {"hostNamespaces": False},
        agent(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
        "livenessProbe.httpGet.host",
    ),
    ({"nodeNames": []}, pod(nodeName="node-1"), "podTemplate.spec.nodeName"),
    ({"volumeTypes": ["emptyDir"]}, volume(hostPath={"path": "/"}), "volumes[v].hostPath"),
    ({"volumeTypes": ["emptyDir"]}, volume(nfs={"server": "s", "path": "/"}), "volumes[v].nfs"),
    (
        {"secrets": []},
        agent(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]),
        "valueFrom.secretKeyRef.name",
    ),
    ({"secrets": []}, agent(envFrom=[{"secretRef": {"name": "db"}}]), "envFrom[0].secretRef.name"),
    ({"secrets": []}, volume(secret={"secretName": "db"}), "volumes[v].secret.secretName"),
    (
        {"secrets": []},
        volume(projected={"sources": [{"secret": {"name": "db"}}]}),
        "projected.sources[0].secret.name",
    ),
    ({"secrets": []}, volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "db"}}), "nodePublish"),
    ({"secrets": ["pull-*"]}, pod(imagePullSecrets=[{"name": "db"}]), "imagePullSecrets[db].name"),
    ({"configMaps": []}, volume(configMap={"name": "kube-root-ca.crt"}), "volumes[v].configMap.name"),
    ({"configMaps": []}, agent(envFrom=[{"configMapRef": {"name": "m"}}]), "envFrom[0].configMapRef.name"),
    ({"claims": []}, volume(persistentVolumeClaim={"claimName": "db"}), "persistentVolumeClaim.claimName"),
    (
        {"claims": []},
        volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "db"}}
                }
            }
        ),
        "dataSource.name",
    ),
    ({"maxTimeoutSec": 600}, {"timeoutSec": 601}, "timeoutSec"),
    ({"maxTimeoutSec": 600}, {}, "timeoutSec"),
    ({"maxTimeoutSec": 600}, {"timeoutSec": 600, "stopGraceSec": 601}, "stopGraceSec"),
    (
        {"maxTimeoutSec": 600},
        pod(terminationGracePeriodSeconds=2**31 - 1) | {"timeoutSec": 600},
        "podTemplate.spec.terminationGracePeriodSeconds",
    ),
    ({"maxTtlSecondsAfterFinished": 60}, {"ttlSecondsAfterFinished": 61}, "ttlSecondsAfterFinished"),
    ({"maxTurnsPerRun": 5}, {"maxTurnsPerRun": 6}, "maxTurnsPerRun"),
    ({"maxTurnsPerRun": 5}, {}, "maxTurnsPerRun"),
    ({"maxCpu": "2"}, {"resources": {"limits": {"cpu": "2001m"}}}, "resources.limits.cpu"),
    ({"maxCpu": "4"}, agent(resources={"limits": {"cpu": "64"}}), "resources.limits.cpu"),
    ({"maxCpu": "4"}, agent(resources={"limits": None}), "resources.limits.cpu"),
    ({"maxCpu": "6"}, {"enableDocker": True}, "resources.limits.cpu"),
    ({"maxCpu": "4"}, {"cpuLimit": "0"}, "resources.limits.cpu"),
    ({"maxCpu": "4"}, agent(resources={"limits": {"cpu": "0.0"}}), "resources.limits.cpu"),
    ({"maxMemory": "8Gi"}, {"memoryLimit": "0Gi"}, "resources.limits.memory"),
    ({"maxMemory": "8Gi"}, agent(resources={"limits": {"memory": 0}}), "resources.limits.memory"),
    ({"maxLogSize": "1Gi"}, {"logSizeLimit": "0"}, "logSizeLimit"),
    ({"maxTurnsPerRun": 5}, {"maxTurnsPerRun": 5, "extraArgs": ["--max-turns", "99"]}, "extraArgs"),
    ({"maxTurnsPerRun": 5}, {"maxTurnsPerRun": 5, "extraArgs": "--max-turns=99"}, "extraArgs"),
    ({"maxMemory": "8Gi"}, {"memoryLimit": "9Gi"}, "resources.limits.memory"),
    (
        {"maxMemory": "8Gi"},
        pod(containers=[{"name": "s", "image": "x", "resources": {"limits": {"memory": "1Mi"}}}]),
        "resources.limits.memory",
    ),
    ({"maxLogSize": "1Gi"}, {"logSizeLimit": "2Gi"}, "logSizeLimit"),
    ({"claimCreation": False}, {"sessionVolume": "auto"}, "sessionVolume"),
    ({"claims": ["agents-*"]}, {"sessionVolume": "other"}, "sessionVolume"),
    ({"storageClasses": ["cheap"]}, AUTO | {"sessionVolumeClass": "fast"}, "sessionVolumeClass"),
    ({"maxSessionVolumeSize": "5Gi"}, AUTO, "sessionVolumeSize"),
]
ALLOWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"claimCreation": False}, {"sessionVolume": "none", "sessionVolumeSize": "1Ti"}),
    ({"storageClasses": ["cheap"], "maxSessionVolumeSize": "10Gi"}, AUTO | {"sessionVolumeClass": "cheap"}),
    ({"images": ["registry.local/*"]}, {"image": "registry.local/claude:1"}),
    ({"namespaces": [NAMESPACE]}, {"namespace": NAMESPACE}),
    ({"serviceAccounts": ["agent"], "serviceAccountTokens": True}, {"serviceAccountName": "agent"}),
    ({"serviceAccountTokens": False}, pod(serviceAccountName="agent")),
    ({"rootUser": False}, pod(containers=[{"name": "s", "image": "x", "securityContext": SAFE}])),
    ({"rootUser": False}, {"enableDocker": True}),
    ({"secrets": ["pull-*"]}, pod(imagePullSecrets=[{"name": "pull-a"}])),
    ({"secrets": []}, agent(env=[{"name": "API_KEY", "value": "not-shown-to-others"}])),
    ({"volumeTypes": ["emptyDir"]}, volume(emptyDir={})),
    ({"privileged": False}, {"podTemplate": {"metadata": {"labels": {"privileged": "true"}}}}),
    ({"labels": ["team"]}, {"labels": {"team": "a"}}),
    ({"labels": [], "annotations": []}, {"podTemplate": {"hostname": "a"}}),
    (
        {"annotations": ["example.com/*"]},
        {"podTemplate": {"metadata": {"annotations": {"example.com/a": "b"}}}},
    ),
    ({"tolerations": ["gpu"]}, {"tolerations": [{"key": "gpu", "operator": "Exists"}]}),
    ({"privileged": False}, security_context(seccompProfile={"type": "RuntimeDefault"})),
    ({"maxTimeoutSec": 600}, pod(terminationGracePeriodSeconds=300) | {"timeoutSec": 600}),
    ({"maxTimeoutSec": 600, "maxTurnsPerRun": 9}, {"timeoutSec": 600, "maxTurnsPerRun": 9}),
    ({"maxCpu": "4", "maxMemory": "8Gi", "maxLogSize": "10Gi"}, {}),
    ({"kubeconfigs": ["/etc/kubernetes"]}, {"kubeconfig": "/etc/kubernetes/../kubernetes/a"}),
]


def settings_with(policy: dict[str, Any]) -> ProcessSettings:
    return ProcessSettings(policy=Policy.read(policy))


def created_objects(fake: FakeCluster) -> Iterator[Any]:
    for kind in (JOBS, SECRETS, LEASES):
        yield from fake.store.list(kind)


@pytest.mark.parametrize(("policy", "config", "key"), REFUSED)
async def test_config_against_the_policy_creates_nothing(
    policy: dict[str, Any], config: dict[str, Any], key: str, tmp_path: Path
) -> None:
    async with one_host(tmp_path, GOOD, settings_with(policy)) as (fake, run):
        result, _ = await run(config=config)
        assert result.error_code == "k8s_policy_refused"
        assert key in (result.error_message or "")
        assert next(iter(policy)) in (result.error_message or "")  # the key of the policy
        assert "CLAUDE_K8S_POLICY" in (result.error_message or "")
        assert list(created_objects(fake)) == []
        assert result.error_family is None


@pytest.mark.parametrize(("policy", "config"), ALLOWED)
async def test_config_within_the_policy_runs(
    policy: dict[str, Any], config: dict[str, Any], tmp_path: Path
) -> None:
    async with one_host(tmp_path, GOOD, settings_with(policy)) as (_, run):
        assert_whole(*await run(config=config))


@pytest.mark.parametrize(
    "config", [*(config for _, config, _ in REFUSED), *(config for _, config in ALLOWED)]
)
def test_default_policy_refuses_none_of_these_configs(config: dict[str, Any]) -> None:
    assert config_refusals(AdapterConfig.read(config), Policy()) == ()


async def test_all_refusals_are_named_at_once(tmp_path: Path) -> None:
    policy = {"images": ["x"], "docker": False, "nodeNames": [], "secrets": []}
    config = pod(nodeName="n", imagePullSecrets=[{"name": "s"}]) | {"enableDocker": True, "image": "evil"}
    async with one_host(tmp_path, GOOD, settings_with(policy)) as (_, run):
        result, _ = await run(config=config)
        for key in ("image:", "enableDocker:", "podTemplate.spec.nodeName:", "imagePullSecrets[s].name:"):
            assert key in (result.error_message or "")


async def test_no_run_starts_under_an_unusable_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    for content in ("images: 3", "imagez: []", "[1]", "a: [", "\0", "x" * 300_000, "a: &a [*a]"):
        file.write_text(content)
        settings = ProcessSettings.read({"CLAUDE_K8S_POLICY": str(file)})
        async with one_host(tmp_path, GOOD, settings) as (fake, run):
            result, _ = await run()
            assert result.error_code == "k8s_policy_refused", content[:20]
            assert "policy cannot be used" in (result.error_message or "")
            assert str(file) in (result.error_message or "")
            assert list(created_objects(fake)) == []
            assert count_jobs(fake) == 0
