"""What the environment test, the config form and the status lines of a run say about the policy."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import write_kubeconfig
from tests.support.in_memory_runs import GOOD, one_host

from paperclip_claude_k8s.adapter import Adapter
from paperclip_claude_k8s.host.checkup import Checkup
from paperclip_claude_k8s.host.form import NOT_ALLOWED
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster

STRICT = Policy(
    images=("registry.local/*",), docker=False, pod_template=False, shared_volume_dirs=(), exec_plugins=()
)


async def check(folder: Path, settings: ProcessSettings, config: dict[str, Any]) -> Checkup:
    async with FakeCluster.start(folder) as fake:
        adapter = Adapter(settings, lambda *_: fake.gateway)
        try:
            return await adapter.test_environment({"config": {"kubeconfig": "fake", **config}})
        finally:
            await adapter.shutdown()


async def test_environment_test_lists_each_refusal(tmp_path: Path) -> None:
    config = {
        "image": "evil",
        "enableDocker": True,
        "podTemplate": {"hostPID": True},
        "sharedVolumeDir": "/etc",
        "instructionsFilePath": "/proc/self/environ",
    }
    checkup = await check(tmp_path, ProcessSettings(policy=STRICT), config)
    errors = [found for found in checkup.checks if found.level == "error"]
    assert {found.code for found in errors} == {"k8s_policy_refused"}
    keys = [found.message.split(": ")[1] for found in errors]
    assert sorted(keys) == [
        "dockerImage",
        "enableDocker",
        "image",
        "instructionsFilePath",
        "podTemplate",
        "sharedVolumeDir",
    ]
    assert all(found.hint for found in errors)


async def test_environment_test_examines_the_merged_pod_too(tmp_path: Path) -> None:
    settings = ProcessSettings(policy=Policy(root_user=False))
    config = {"image": "x", "podTemplate": {"securityContext": {"$patch": "delete"}}}
    checkup = await check(tmp_path, settings, config)
    assert [found.code for found in checkup.checks if found.level == "error"] == ["k8s_policy_refused"]


async def test_environment_test_names_a_forbidden_exec_plugin(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}}
    adapter = Adapter(ProcessSettings())
    config = {"kubeconfig": write_kubeconfig(tmp_path, user=user), "image": "x"}
    try:
        (found,) = (await adapter.test_environment({"config": config})).checks
    finally:
        await adapter.shutdown()
    assert found.code == "k8s_policy_refused"
    assert "'aws'" in found.message
    assert "execPlugins" in (found.hint or "")


async def test_environment_test_fails_with_an_unusable_policy(tmp_path: Path) -> None:
    settings = ProcessSettings.read({"CLAUDE_K8S_POLICY": str(tmp_path / "nowhere")})
    checkup = await check(tmp_path, settings, {"image": "x"})
    assert [found.code for found in checkup.checks] == ["k8s_policy_refused"]
    assert "nowhere: it does not exist" in checkup.checks[0].message


def test_form_names_settings_that_the_policy_forbids() -> None:
    fields = Adapter(ProcessSettings(policy=STRICT)).get_config_schema()["fields"]
    forbidden = [field["key"] for field in fields if field["hint"].startswith(NOT_ALLOWED)]
    assert forbidden == ["podTemplate", "sharedVolumeDir", "enableDocker", "dockerImage"]
    fields = Adapter(ProcessSettings()).get_config_schema()["fields"]
    assert [field["key"] for field in fields if NOT_ALLOWED in field["hint"]] == []


@pytest.mark.parametrize(
    ("config", "note"),
    [
        (
            {"serviceAccountName": "admin"},
            "The agent gets a token of service account admin, with all its rights",
        ),
        ({"podTemplate": {"automountServiceAccountToken": True}}, "gives the agent a token"),
        ({"podTemplate": {"nodeName": "node-1"}}, "puts the Pod on node node-1, without the scheduler"),
        (
            {"podTemplate": {"imagePullSecrets": [{"name": "theirs"}]}},
            "use Secrets that are not of this run: theirs",
        ),
        (
            {"podTemplate": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "db"}}]}},
            "use volume claims: db",
        ),
        ({"podTemplate": {"hostNetwork": True}}, "hostNetwork is on"),
        (
            {"podTemplate": {"containers": [{"name": "claude", "securityContext": {"privileged": True}}]}},
            "container claude is privileged",
        ),
    ],
)
async def test_status_line_names_what_the_pod_can_reach_beyond_an_ordinary_pod(
    config: dict[str, Any], note: str, tmp_path: Path
) -> None:
    async with one_host(tmp_path, GOOD) as (_, run):
        _, host_log = await run(config=config)
        assert note in host_log.status
