"""`enableDocker`: a privileged daemon beside the agent, on clusters with native sidecars."""

from typing import Any

import pytest
from tests.support.plans import a_plan, the_job, the_secret

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.requirements import unmet

Object = dict[str, Any]


def spec(**config: Any) -> Object:
    """The spec of a Pod with `enableDocker`."""
    found: Object = the_job(enableDocker=True, **config)["spec"]["template"]["spec"]
    return found


def agent_env(**config: Any) -> Object:
    return {entry["name"]: entry.get("value") for entry in spec(**config)["containers"][0]["env"]}


def test_docker_daemon_is_a_native_sidecar_with_startup_probe() -> None:
    (sidecar,) = spec()["initContainers"]
    assert (sidecar["name"], sidecar["image"]) == ("docker", "docker:28-dind")
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["exec"]["command"][0] == "docker"
    assert sidecar["securityContext"]["privileged"] is True
    assert spec(dockerImage="mirror/docker:27-dind")["initContainers"][0]["image"] == "mirror/docker:27-dind"


def test_agent_has_address_group_and_mount_of_the_docker_socket() -> None:
    (sidecar,) = spec(runAsUser=4711)["initContainers"]
    assert agent_env()["DOCKER_HOST"] == "unix:///var/run/paperclip/docker/docker.sock"
    assert f"--host={agent_env()['DOCKER_HOST']}" in sidecar["args"]
    assert "--group=4711" in sidecar["args"]
    mount = {"name": "docker", "mountPath": "/var/run/paperclip/docker"}
    assert mount in sidecar["volumeMounts"]
    assert mount in spec()["containers"][0]["volumeMounts"]


def test_configured_docker_host_is_kept() -> None:
    env = {"DOCKER_HOST": "tcp://elsewhere:2375"}
    assert agent_env(env=env)["DOCKER_HOST"] is None  # a reference to the run Secret
    assert the_secret(enableDocker=True, env=env)["stringData"]["env.DOCKER_HOST"] == "tcp://elsewhere:2375"


def test_docker_volumes_have_limits_and_daemon_mounts_home() -> None:
    volumes = {volume["name"]: volume for volume in spec()["volumes"]}
    assert volumes["docker-data"]["emptyDir"]["sizeLimit"]
    assert volumes["docker"]["emptyDir"]["sizeLimit"]
    assert {"name": "home", "mountPath": "/paperclip"} in spec()["initContainers"][0]["volumeMounts"]


def test_pod_has_docker_parts_only_if_enabled() -> None:
    plain = the_job()["spec"]["template"]["spec"]
    assert "initContainers" not in plain
    assert "docker" not in str(plain["volumes"])
    assert "DOCKER_HOST" not in str(plain["containers"][0]["env"])


def test_privileged_docker_daemon_is_noted_in_the_plan() -> None:
    notes = a_plan(enableDocker=True).notes
    assert "Weaker than the Pod Security Standard `restricted`: container docker is privileged" in notes
    assert any("whoever controls the agent controls the node" in note for note in notes)


@pytest.mark.parametrize(
    ("config", "server_version", "unmet_settings"),
    [
        ({}, (1, 16), []),
        ({"enableDocker": True}, (1, 28), ["enableDocker"]),
        ({"enableDocker": True}, (1, 29), []),
        ({"enableDocker": True}, (2, 0), []),
        ({"queueName": "q"}, (1, 23), ["queueName"]),
        ({"queueName": "q"}, (1, 24), []),
        ({"queueName": "q", "enableDocker": True}, (1, 20), ["enableDocker", "queueName"]),
    ],
)
def test_settings_that_the_server_is_too_old_for_are_named(
    config: Object, server_version: tuple[int, int], unmet_settings: list[str]
) -> None:
    assert [setting for setting, _ in unmet(AdapterConfig.read(config), server_version)] == unmet_settings
