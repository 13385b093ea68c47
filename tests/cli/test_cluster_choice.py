"""Which kubeconfig and context the commands use: from options, KUBECONFIG, or ~/.kube/config."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.cli_commands import claude_k8s
from tests.support.dev_cluster_cli import DevClusterCli


async def reply_of(*args: str, **env: str) -> dict[str, Any]:
    _, out, _ = await claude_k8s(*args, env=env)
    reply: dict[str, Any] = json.loads(out)
    return reply


def write_split_kubeconfig(dev: DevClusterCli, folder: Path) -> tuple[str, str]:
    """Write the development cluster's kubeconfig as two files: contexts, and clusters with users.

    The contexts are `here`, the current one, and `down`, whose server does not answer.
    """
    whole = yaml.safe_load(dev.cluster.kubeconfig.read_text(encoding="utf-8"))
    context = whole["contexts"][0]["context"]
    contexts = [
        {"name": "here", "context": {**context, "namespace": "of-context"}},
        {"name": "down", "context": {**context, "cluster": "down"}},
    ]
    clusters = [*whole["clusters"], {"name": "down", "cluster": {"server": "http://127.0.0.1:1"}}]
    first = {"apiVersion": "v1", "kind": "Config", "contexts": contexts, "current-context": "here"}
    second = {"apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": whole["users"]}
    paths = folder / "contexts", folder / "clusters"
    for path, content in zip(paths, (first, second), strict=True):
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(paths[0]), str(paths[1])


async def test_files_in_kubeconfig_are_merged_and_the_contexts_namespace_is_used(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    first, second = write_split_kubeconfig(dev, tmp_path)
    merged = f"{first}::/nowhere/config:{second}"
    assert await reply_of("jobs", KUBECONFIG=merged) == {"namespace": "of-context", "jobs": []}
    named = await reply_of("jobs", "-n", "paperclip", KUBECONFIG=merged)
    assert named["namespace"] == "paperclip"


async def test_context_option_chooses_another_cluster(dev: DevClusterCli, tmp_path: Path) -> None:
    merged = ":".join(write_split_kubeconfig(dev, tmp_path))
    reply = await reply_of("jobs", "--context", "down", KUBECONFIG=merged)
    assert "no connection to 127.0.0.1:1" in reply["detail"]
    reply = await reply_of("jobs", "--context", "absent", KUBECONFIG=merged)
    assert "has no context 'absent': its contexts are 'here', 'down'" in reply["detail"]
    assert "--context" in reply["detail"]


async def test_kubeconfig_in_the_home_is_used_if_none_is_named(dev: DevClusterCli, tmp_path: Path) -> None:
    folder = tmp_path / ".kube"
    folder.mkdir()
    (folder / "config").write_bytes(dev.cluster.kubeconfig.read_bytes())
    home = {"HOME": str(tmp_path)}
    assert (await reply_of("jobs", **home))["jobs"] == []
    assert (await reply_of("jobs", KUBECONFIG=":", **home))["jobs"] == []
    missing = await reply_of("jobs", KUBECONFIG="/nowhere/config", **home)
    assert "/nowhere/config does not exist" in missing["detail"]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"kubeconfig": "/elsewhere/config"}), encoding="utf-8")
    checked = await reply_of("check", "-q", "--config", str(config), **home)
    assert "/elsewhere/config does not exist" in checked["checks"][0]["message"]


async def test_default_kubeconfig_where_agents_can_write_is_not_used(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    """The home of a host's Pod is often on the shared volume: an agent could put an exec plugin there."""
    folder = tmp_path / "instances" / "default" / ".kube"
    folder.mkdir(parents=True)
    (folder / "config").write_bytes(dev.cluster.kubeconfig.read_bytes())
    home = {"HOME": str(folder.parent), "PAPERCLIP_HOME": str(tmp_path)}
    assert "no kubeconfig is set" in (await reply_of("jobs", **home))["detail"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".kube").symlink_to(folder)
    home["HOME"] = str(tmp_path / "home")
    assert "no kubeconfig is set" in (await reply_of("jobs", **home))["detail"]


async def test_error_without_a_kubeconfig_names_every_place_where_one_may_be(tmp_path: Path) -> None:
    detail = (await reply_of("jobs", HOME=str(tmp_path)))["detail"]
    for name in ("--kubeconfig", "KUBECONFIG", "~/.kube/config", "this is not a Pod"):
        assert name in detail
    assert "--context needs a kubeconfig" in (await reply_of("jobs", "--context", "x"))["detail"]


@pytest.mark.parametrize("command", [["run", "-p", "x"], ["check"], ["jobs"], ["spawn", "-p", "x"]])
@pytest.mark.parametrize("option", ["--context", "--kubeconfig"])
async def test_devcluster_together_with_another_cluster_is_refused(command: list[str], option: str) -> None:
    reply = await reply_of(*command, "--devcluster", option, "x")
    assert reply["error"] == "usage"
    if command[0] != "spawn":  # `spawn` reports first that the development cluster is not running
        assert f"{option} names another cluster than --devcluster" in reply["detail"]


async def test_resumed_run_uses_the_context_that_was_current_at_its_start(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    first, second = write_split_kubeconfig(dev, tmp_path)
    env = dev.cli.environment() | {"KUBECONFIG": f"{first}:{second}"}
    config = tmp_path / "settings.json"
    config_of_dev = json.loads(_config_of(dev))
    config.write_text(json.dumps({**config_of_dev, "kubeconfig": None}), encoding="utf-8")
    args = ["run", "-p", "Go.", "--config", str(config), "-n", "paperclip", "-q"]
    code, out, err = await claude_k8s(*args, "--submit-only", env=env)
    assert code == 0, out + err
    content = yaml.safe_load(await asyncio.to_thread(Path(first).read_text, "utf-8"))
    await asyncio.to_thread(
        Path(first).write_text, yaml.safe_dump({**content, "current-context": "down"}), "utf-8"
    )
    code, out, err = await claude_k8s("run", "--run-id", out.strip(), "-q", env=dev.cli.environment())
    assert (code, json.loads(out)["status"]) == (0, "succeeded"), out + err


def _config_of(dev: DevClusterCli) -> str:
    """The config of runs on the development cluster whose agents print a capture."""
    dev.new_run_args()
    return (dev.cli.folder / "config.json").read_text(encoding="utf-8")


async def test_resume_with_the_context_of_another_cluster_is_refused(
    dev: DevClusterCli, tmp_path: Path
) -> None:
    first, second = write_split_kubeconfig(dev, tmp_path)
    env = dev.cli.environment() | {"KUBECONFIG": f"{first}:{second}"}
    _, out, _ = await claude_k8s(*dev.new_run_args("--submit-only", "-n", "paperclip"), env=env)
    code, reply, _ = await claude_k8s("run", "--run-id", out.strip(), "--context", "down", "-q", env=env)
    assert code == 1
    assert json.loads(reply)["error"] == "other_cluster"
    assert "--context with which the run was started" in json.loads(reply)["detail"]
