"""What Pods of a real cluster inherit from the Paperclip host's Pod, and how they run without `runAsUser`.

The host's Pod here has what such Pods often have: the CA of a company, an identity that a cloud's webhook
adds, single files of Secrets, folders of the shared claim, and a long name.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.programs import as_admin
from tests.support.real_cluster import VOLUME, wait_until
from tests.support.real_namespace import ACCOUNT, NAMESPACE
from tests.support.runs import Site

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.cluster.access import SERVICE_ACCOUNT, bound_pod
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog

pytestmark = pytest.mark.real

CA = "-----BEGIN CERTIFICATE-----\ncompany\n-----END CERTIFICATE-----\n"
AWS_TOKEN_FOLDER = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
OPENSHIFT_USER = 1000680000
RESULT = r"""
printf '{"type":"result","subtype":"success","is_error":false,"result":"%s","session_id":"s"}\n' "$said"
"""
"""Ends a script with its variable `said` as the answer."""
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HostPod:
    """A host whose Pod has this name."""

    site: Site
    name: str

    async def run(self, script: str, env: dict[str, str] | None = None, **config: Any) -> ExecutionResult:
        result, _ = await self.logged_run(script, env, **config)
        return result

    async def logged_run(
        self, script: str, env: dict[str, str] | None = None, **config: Any
    ) -> tuple[ExecutionResult, HostLog]:
        """A run of an agent that runs the script, by a host process with the variables `env`."""
        variables = {"PAPERCLIP_NAMESPACE": NAMESPACE, **(env or {"POD_NAME": self.name})}
        adapter = Adapter(ProcessSettings(env=variables, policy=TEMPORARY_FOLDERS))
        site = Site("real", adapter, self.site.gateway, NAMESPACE, self.site.config, self.site.capture_ref)
        try:
            return await site.run({"CLAUDE_SCRIPT": f"{script}\n{RESULT}"}, config=config)
        finally:
            await adapter.shutdown()


def host_spec(marker: str) -> Object:
    """Spec of the host's Pod. `marker` names its ConfigMap, its Secret, and the folder of its claim."""
    mounts: list[Object] = [
        {"name": "data", "mountPath": "/paperclip", "subPath": f"{marker}/team-a"},
        {"name": "data", "mountPath": "/library", "subPath": f"{marker}/common", "readOnly": True},
        {"name": "ca", "mountPath": "/etc/company/ca.pem", "subPath": "ca.pem"},
        {"name": "keys", "mountPath": "/etc/keys/api.key", "subPath": "api.key"},
        {"name": "keys", "mountPath": "/all-keys", "readOnly": True},
        {"name": "aws", "mountPath": AWS_TOKEN_FOLDER, "readOnly": True},
        {"name": "cache", "mountPath": "/cache"},
    ]
    token = {"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}
    volumes: list[Object] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "paperclip-data"}},
        {"name": "ca", "configMap": {"name": marker}},
        {"name": "keys", "secret": {"secretName": marker}},
        {"name": "aws", "projected": {"sources": [token]}},
        {"name": "cache", "emptyDir": {}},
    ]
    env = {
        "NODE_EXTRA_CA_CERTS": "/etc/company/ca.pem",
        "CACHED_LIST": "/cache/list",
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/host",
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{AWS_TOKEN_FOLDER}/token",
        "AWS_REGION": "eu-west-1",
    }
    container: Object = {
        "name": "paperclip",
        "image": "local/agent:1",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "hostname; while true; do sleep 3600; done"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": mounts,
    }
    return {
        "serviceAccountName": ACCOUNT,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": volumes,
    }


@asynccontextmanager
async def host_pod(real: Site, name: str, marker: str) -> AsyncIterator[HostPod]:
    """A running Pod of a host, with its ConfigMap and Secret."""
    secret = base64.b64encode(b"k3y").decode()
    objects: list[Object] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": marker}, "data": {"ca.pem": CA}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": marker}, "data": {"api.key": secret}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": host_spec(marker)},
    ]
    for folder in ("team-a", "common"):
        path = Path(VOLUME) / marker / folder
        path.mkdir(parents=True)
        path.chmod(0o777)
    (Path(VOLUME) / marker / "common" / "book").write_text("shared")
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    await as_admin("apply", "-f", "-", stdin=listed)
    try:
        await as_admin("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
        yield HostPod(real, name)
    finally:
        await as_admin("delete", "--wait=false", "-f", "-", stdin=listed)


@pytest.fixture
async def host(real: Site) -> AsyncIterator[HostPod]:
    marker = f"host-{uuid.uuid4().hex[:8]}"
    async with host_pod(real, marker, marker) as pod:
        yield pod


async def test_each_mount_of_the_host_arrives_as_it_is(host: HostPod) -> None:
    script = """
said="$(cat /etc/keys/api.key) $(cat /all-keys/api.key) $(cat /library/book)"
[ -f /etc/keys/api.key ] && said="$said file"
[ -e /paperclip/team-a ] || said="$said subPath"
echo x >/library/new 2>/dev/null || said="$said read-only"
echo written >/paperclip/by-agent
"""
    result = await host.run(script)
    assert result.error_message is None
    assert result.summary == "k3y k3y shared file subPath read-only"
    written = Path(VOLUME) / host.name / "team-a" / "by-agent"
    assert await asyncio.to_thread(written.read_text) == "written\n"


async def test_company_ca_is_inherited_and_files_that_are_not_inherited_are_reported(host: HostPod) -> None:
    script = 'said="$(sed -n 2p "$NODE_EXTRA_CA_CERTS") $CACHED_LIST"'
    result, host_log = await host.logged_run(script)
    assert result.summary == "company /cache/list"
    assert "on a volume that the agent does not get: CACHED_LIST" in host_log.status
    assert "/cache (emptyDir)" in host_log.status


async def test_cloud_identity_of_the_host_is_left_out_and_reported(host: HostPod) -> None:
    folder = f"$(ls -d {AWS_TOKEN_FOLDER} 2>/dev/null)"
    script = f'said="$AWS_REGION|$AWS_ROLE_ARN|$AWS_WEB_IDENTITY_TOKEN_FILE|{folder}"'
    result, host_log = await host.logged_run(script)
    assert result.summary == "eu-west-1|||"
    assert "cloud identity" in host_log.status
    assert "AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE" in host_log.status


async def has_log(pod: str) -> bool:
    return "\n" in await as_admin("logs", pod)


async def test_host_with_a_long_name_is_found_by_its_cut_hostname(real: Site) -> None:
    marker = f"host-{uuid.uuid4().hex[:8]}"
    name = f"{marker}-{'x' * 70}"
    async with host_pod(real, name, marker) as host:
        await wait_until(partial(has_log, name))
        hostname = (await as_admin("logs", name)).strip()
        assert hostname == name[:63].rstrip("-")
        result = await host.run('said="$(cat /library/book)"', {"HOSTNAME": hostname})
        assert (result.error_message, result.summary) == (None, "shared")


async def test_token_that_the_kubelet_mounts_names_the_pod_since_kubernetes_1_21(host: HostPod) -> None:
    token = await as_admin("exec", host.name, "--", "cat", str(SERVICE_ACCOUNT / "token"))
    since = (await host.site.gateway.server_version()) >= (1, 21)
    assert bound_pod(f"Bearer {token}") == (host.name if since else "")


async def test_agent_runs_as_the_user_that_the_cluster_sets(real: Site) -> None:
    """OpenShift sets the user and the group of a Pod that leaves them unset."""
    chosen = {"runAsUser": OPENSHIFT_USER, "fsGroup": OPENSHIFT_USER}
    home: Object = {"name": "home", "persistentVolumeClaim": None, "emptyDir": {}}
    script = 'cd && echo x >file && said="$(id -u) $(cat file)"'
    config = {
        "runAsUser": None,
        "podTemplate": {"spec": {"securityContext": chosen, "volumes": [home]}},
    }
    result, host_log = await real.run({"CLAUDE_SCRIPT": f"{script}\n{RESULT}"}, config=config)
    assert result.error_message is None, host_log.status
    assert result.summary == f"{OPENSHIFT_USER} x"
    assert await real.leftovers() == []


async def test_run_without_run_as_user_fails_at_once_if_the_image_runs_as_root(real: Site) -> None:
    result, _ = await real.run(config={"runAsUser": None})
    assert result.error_code == "k8s_pod_schedule_failed"
    assert "image will run as root" in (result.error_message or "")
    assert "startTimeoutSec" not in (result.error_message or "")
    assert result.error_family is None
    assert await real.leftovers() == []
