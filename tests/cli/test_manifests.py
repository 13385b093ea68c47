"""`claude-k8s manifests`: the objects of an agents' namespace, as a YAML stream and as kustomize folders."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.cli_commands import claude_k8s
from tests.support.programs import program

from paperclip_claude_k8s.checks.role import Account, access_objects
from paperclip_claude_k8s.docs import FOLDER

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


async def printed(*options: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The printed objects by kind and name."""
    code, out, err = await claude_k8s("manifests", "-n", "agents", *options)
    assert (code, err) == (0, "")
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(out)}


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def kustomized(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects that `kubectl kustomize` makes of the folder, by kind and name."""
    process = await asyncio.create_subprocess_exec(
        program("kubectl"), "kustomize", str(folder), stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(out)}


async def test_manifests_print_namespace_account_role_claim_and_policy() -> None:
    objects = await printed()
    assert list(objects) == [
        ("Namespace", "agents"),
        ("ServiceAccount", "paperclip"),
        ("Role", "paperclip-claude-k8s"),
        ("RoleBinding", "paperclip-claude-k8s"),
        ("NetworkPolicy", "paperclip-claude-k8s"),
        ("PersistentVolumeClaim", "agents-home"),
    ]
    assert objects["Namespace", "agents"]["metadata"]["labels"].items() >= RESTRICTED.items()
    expected = access_objects("agents", Account("agents", "paperclip"), network_policy=True)
    assert [each for each in objects.values() if each in expected] == list(expected)
    spec = objects["PersistentVolumeClaim", "agents-home"]["spec"]
    assert spec == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}}


async def test_manifests_do_not_contain_objects_that_options_switch_off() -> None:
    objects = await printed("--pod-security", "none", "--claim", "", "--no-network-policy")
    kinds = [kind for kind, _ in objects]
    assert kinds == ["Namespace", "ServiceAccount", "Role", "RoleBinding"]
    assert not RESTRICTED.keys() & objects["Namespace", "agents"]["metadata"]["labels"].keys()


async def test_manifests_of_a_host_in_another_namespace_put_its_account_there() -> None:
    objects = await printed("--service-account", "host:clip", "--storage-class", "nfs", "--storage", "1Ti")
    assert objects["ServiceAccount", "clip"]["metadata"]["namespace"] == "host"
    spec = objects["PersistentVolumeClaim", "agents-home"]["spec"]
    assert (spec["storageClassName"], spec["resources"]["requests"]["storage"]) == ("nfs", "1Ti")


async def test_telemetry_and_metrics_open_their_ports_for_one_namespace_only() -> None:
    closed = await printed("--server", "paperclip:1")
    opened = await printed("--server", "paperclip:1", "--telemetry", "obs", "--metrics", "mon:9464")
    agents, server = ("NetworkPolicy", "paperclip-claude-k8s"), ("NetworkPolicy", "paperclip")
    *unchanged, collector = opened[agents]["spec"]["egress"]
    assert unchanged == closed[agents]["spec"]["egress"]
    assert [port["port"] for port in collector["ports"]] == [4317, 4318]
    assert collector["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "obs"}}}]
    *unchanged, metrics = opened[server]["spec"]["ingress"]
    assert unchanged == closed[server]["spec"]["ingress"]
    assert [port["port"] for port in metrics["ports"]] == [9464]
    assert metrics["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mon"}}}]


async def test_server_mounts_the_agents_claim_and_keeps_its_state_elsewhere() -> None:
    objects = await printed("--server", "paperclip:1")
    pod = objects["Deployment", "paperclip"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}
    assert paths["agents-home"] == "/paperclip"
    assert paths["paperclip-state"] == env["PAPERCLIP_HOME"]
    assert not env["PAPERCLIP_HOME"].startswith("/paperclip")
    assert env["PAPERCLIP_API_URL"] == "http://paperclip.agents.svc:3100"
    assert env["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert pod["serviceAccountName"] == "paperclip"


async def test_kustomize_of_each_written_folder_equals_the_printed_objects(tmp_path: Path) -> None:
    options = ("--server", "paperclip:1", "--metrics", "mon:9464")
    code, out, _ = await claude_k8s("manifests", "-n", "agents", *options, "--out", str(tmp_path / "setup"))
    reply = json.loads(out)
    assert (code, reply["status"]) == (0, "written")
    assert reply["apply"] == f"kubectl apply -k {tmp_path}/setup/overlays/server"
    overlays = tmp_path / "setup" / "overlays"
    assert await kustomized(overlays / "server") == await printed(*options)
    assert await kustomized(overlays / "restricted") == await printed()
    assert await kustomized(tmp_path / "setup" / "base") == await printed("--pod-security", "none")
    dockerfile = (FOLDER / "agent-image.Dockerfile").read_text()
    assert (tmp_path / "setup" / "agent-image" / "Dockerfile").read_text() == dockerfile


async def test_folder_with_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    code, out, _ = await claude_k8s("manifests", "-n", "agents", "--out", str(tmp_path))
    assert (code, json.loads(out)["error"]) == (2, "usage")
    assert file_names(tmp_path) == ["mine"]


async def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, out, _ = await claude_k8s("manifests", "-n", "agents", "--out", str(tmp_path / "file" / "setup"))
    assert (code, json.loads(out)["error"]) == (1, "not_written")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--metrics", "mon:9464"], "--server"),
        (["--server", "i", "--metrics", "9464"], "NAMESPACE:PORT"),
        (["--server", "i", "--metrics", "mon:0"], "NAMESPACE:PORT"),
        (["--server", "i", "--metrics", "mon:x"], "NAMESPACE:PORT"),
        (["--server", "i", "--service-account", "host:paperclip"], "agents' namespace"),
    ],
)
async def test_malformed_or_contradictory_options_are_usage_errors(options: list[str], text: str) -> None:
    code, out, err = await claude_k8s("manifests", "-n", "agents", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: usage: ")
    assert text in err
