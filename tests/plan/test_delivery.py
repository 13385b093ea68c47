"""The route of each file to the Pod.

Files that contain secrets, called private, are in the run Secret only. Other files are in the run Secret too
(route `secret`), or an init container writes them (route `init`), or, if they are too large for that, they
are on the shared volume (staged).
"""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.plans import a_context, a_plan, the_job, the_secret

from paperclip_claude_k8s.plan.bundle import INSTRUCTIONS, Packed, assemble, packed_in_secret
from paperclip_claude_k8s.plan.delivery import (
    OBJECT_BYTES,
    SECRET_ENV,
    TARGET_ENV,
    DeliveryOptions,
    deliver,
    escaped,
    pieces,
    size,
    writing_container,
)
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.plan.shared_files import SharedFile

ONLY_PROMPT = frozenset({"prompt.txt"})
COPIES = "/var/run/paperclip/scratch/volume"
"""Folder in the Pod into which the relay copies files from the shared volume after it has verified them."""
MIB = 1024 * 1024
"""Bytes; more than `OBJECT_BYTES`, the most that one object may have."""
SERVERS_WITH_TOKEN = {
    "mine": {"url": "https://x.example", "headers": {"Authorization": "Bearer c4n4ry-header"}}
}


def context_with_task(text: str, **context: Any) -> Any:
    return a_context(context={"paperclipTaskMarkdown": text, **context})


def spec_of(ctx: Any = None, **options: Any) -> dict[str, Any]:
    """The spec of the Pod of a run."""
    spec: dict[str, Any] = the_job(ctx, **options)["spec"]["template"]["spec"]
    return spec


def env_of(container: dict[str, Any]) -> dict[str, str]:
    """Name → plain value; "" for an entry without one."""
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


# Staging -------------------------------------------------------------------------------------------------


def test_large_prompt_is_staged_if_host_and_pod_mount_the_volume() -> None:
    plan = a_plan(context_with_task("x" * 2 * MIB), volume_here="/mnt")
    assert list(plan.delivery.staged) == ["prompt.txt"]
    assert plan.object_bytes < OBJECT_BYTES
    job = job_manifest(plan)
    assert job["metadata"]["annotations"]["paperclip.io/staged-files"] == f"run-files/{plan.job_name}"
    env = env_of(job["spec"]["template"]["spec"]["containers"][0])
    assert env["PAPERCLIP_RELAY_PROMPT"] == f"{COPIES}/run-files/{plan.job_name}/prompt.txt"


@pytest.mark.parametrize("mounts", [{"volume_here": None}, {"volume_here": "/mnt", "home": None}])
def test_large_prompt_is_not_staged_unless_host_and_pod_mount_the_volume(mounts: dict[str, Any]) -> None:
    plan = a_plan(context_with_task("x" * 2 * MIB), **mounts)
    assert plan.delivery.staged == {}
    assert plan.object_bytes > OBJECT_BYTES


def test_small_prompt_is_not_staged() -> None:
    plan = a_plan(volume_here="/mnt")
    assert plan.delivery.staged == {}
    assert "paperclip.io/staged-files" not in json.dumps(job_manifest(plan))


def test_large_wake_payload_is_staged() -> None:
    wake = {"reason": "r", "comments": [{"id": "1", "body": "b" * 2 * MIB}]}
    plan = a_plan(context_with_task("hello", paperclipWake=wake), volume_here="/mnt")
    assert "wake-payload.json" in plan.delivery.staged
    env = env_of(job_manifest(plan)["spec"]["template"]["spec"]["containers"][0])
    assert env["PAPERCLIP_WAKE_PAYLOAD_FILE"] == f"{COPIES}/run-files/{plan.job_name}/wake-payload.json"


def test_files_named_on_the_command_line_are_not_staged() -> None:
    servers = {"big": {"command": "x", "args": ["y" * 100_000]}}
    plan = a_plan(volume_here="/mnt", mcpServers=servers, env={"BIG": "y" * 900_000})
    assert plan.delivery.staged.keys() == {"prompt.txt"}
    assert plan.object_bytes > OBJECT_BYTES


def test_private_file_is_never_staged() -> None:
    options: dict[str, Any] = {"env": {"BIG_TOKEN": "c4n4ry" * 170_000}, "volume_here": "/mnt"}
    assert a_plan(**options).delivery.staged.keys() == {"prompt.txt"}
    assert a_plan(**options).object_bytes > OBJECT_BYTES


def test_list_of_shared_files_is_in_the_secret_or_written_by_the_init_container() -> None:
    bundle = (
        SharedFile("b/k/SKILL.md", "0" * 64, 5),
        SharedFile("b/k/bin/run it", "1" * 64, 7, executable=True),
    )
    listed = (
        f"folder - - b/k\n{'0' * 64} 5 - SKILL.md\nfolder - - b/k/bin\n{'1' * 64} 7 x run it\n"
        f"folder - - f\n{hashlib.sha256(b'x' * 100).hexdigest()} 100 - prompt.txt\n"
    )
    for route in ("secret", "init"):
        options = DeliveryOptions(route, limit=10, folder="f", reserved=5, movable=ONLY_PROMPT, shared=bundle)
        delivery = deliver({"prompt.txt": "x" * 100}, private=lambda *_: False, options=options)
        assert getattr(delivery, route) == {"shared-files.txt": listed}


def test_relay_gets_the_list_only_if_there_are_shared_files() -> None:
    staged = spec_of(context_with_task("x" * 2 * MIB), volume_here="/mnt")
    lists = [env_of(spec["containers"][0])["PAPERCLIP_RELAY_FILES"] for spec in (staged, spec_of())]
    assert lists == ["/var/run/paperclip/run/shared-files.txt", ""]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=60)),
    st.integers(0, 200),
    st.sampled_from(["secret", "init"]),
)
def test_each_file_has_one_route_and_files_within_the_limit_are_not_staged(
    files: dict[str, str], limit: int, route: Literal["secret", "init"]
) -> None:
    options = DeliveryOptions(route, limit, folder="folder", movable=frozenset("abcde"))
    delivery = deliver(files, private=lambda name, _: name == "a", options=options)
    routes = [dict(route) for route in (delivery.secret, delivery.init, delivery.staged)]
    for route_files in routes:
        route_files.pop("shared-files.txt", None)
    assert {name: text for route in routes for name, text in route.items()} == files
    assert sum(map(len, routes)) == len(files)
    assert "a" not in delivery.init  # private
    assert "a" not in delivery.staged
    assert "f" not in delivery.staged  # not movable
    if sum(map(size, files.values())) <= limit:
        assert delivery.staged == {}


# Init ----------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.sampled_from("a$é\U0001f600\n(")), st.integers(8, 40))
def test_pieces_join_to_the_text_and_fit_the_limit(text: str, limit: int) -> None:
    cut = list(pieces(text, limit))
    assert "".join(cut) == text
    assert all(len(escaped(piece).encode()) <= limit for piece in cut)


TEXT_TO_ESCAPE = "é$(HOME) $$ `x` \"q\" 'p' \\n %s\n" * 9000 + "no newline at the end"


def test_init_container_writes_files_byte_for_byte(tmp_path: Path) -> None:
    container = writing_container({"prompt.txt": TEXT_TO_ESCAPE, "b.json": "", "c": "-n"}, with_secret=True)
    source, target = tmp_path / "secret", tmp_path / "run"
    source.mkdir()
    target.mkdir()
    (source / "mcp.json").write_text("{}")
    # as the kubelet does, "$$" becomes "$" in variables and in the command
    env = {str(entry["name"]): str(entry["value"]).replace("$$", "$") for entry in container["env"]}  # type: ignore[attr-defined]
    env |= {TARGET_ENV: str(target), SECRET_ENV: str(source), "PATH": "/usr/bin:/bin"}
    script = str(container["command"][2]).replace("$$", "$")  # type: ignore[index]
    subprocess.run(["sh", "-c", script], env=env, check=True)
    written = {path.name: path.read_text() for path in target.iterdir()}
    assert written == {"prompt.txt": TEXT_TO_ESCAPE, "b.json": "", "c": "-n", "mcp.json": "{}"}
    assert {oct(path.stat().st_mode & 0o777) for path in target.iterdir()} == {"0o600"}


def test_init_delivery_keeps_secrets_out_of_the_job() -> None:
    options: dict[str, Any] = {"promptDelivery": "init", "mcpServers": SERVERS_WITH_TOKEN, "enableRtk": True}
    spec, secret = spec_of(**options), the_secret(**options)
    (writer,) = spec["initContainers"]
    assert "Say hello." in json.dumps(writer)
    assert "c4n4ry" not in json.dumps(spec)
    assert "canary" not in json.dumps(spec)
    assert secret["stringData"].keys() == {
        "mcp.json",
        "env.PAPERCLIP_API_KEY",
        "env.ANTHROPIC_CUSTOM_HEADERS",
    }
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["run"]["emptyDir"]["sizeLimit"]
    assert [item["key"] for item in volumes["run-secret"]["secret"]["items"]] == ["mcp.json"]
    assert "run-secret" not in {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}


def test_job_without_secret_is_annotated_as_ungated() -> None:
    """The Pods of an ungated Job start without waiting for a run Secret."""
    plan = secretless_plan()
    annotations = job_manifest(plan)["metadata"]["annotations"]
    assert (plan.secret_data, annotations["paperclip.io/ungated"]) == ({}, "true")
    assert "paperclip.io/ungated" not in the_job()["metadata"]["annotations"]


# Without Secrets ------------------------------------------------------------------------------------------


def secretless_plan(ctx: Any = None, packed: Packed | None = None, **config: Any) -> RunPlan:
    """The plan of a run in a namespace in which the host may not create Secrets."""
    plan = a_plan(ctx, **config)
    site = RunSite("ns", plan.image, plan.home, {}, plan.nonce, packed=packed or Packed())
    return Planner(ctx or a_context(), plan.identity, plan.config, site).plan(secretless=True)


def test_secretless_plan_drops_secrets_and_names_them() -> None:
    template = {"containers": [{"name": "claude", "env": [{"name": "A_KEY", "value": "c4n4ry-pod"}]}]}
    plan = secretless_plan(
        env={"MY_TOKEN": "c4n4ry-env", "BIG_TOKEN": "c4n4ry" * 50_000, "PLAIN": "shown"},
        mcpServers=SERVERS_WITH_TOKEN,
        podTemplate=template,
    )
    text = json.dumps(job_manifest(plan))
    assert "c4n4ry" not in text
    assert "canary" not in text
    assert "secretKeyRef" not in text
    assert '"secret"' not in text
    assert "--mcp-config" not in text
    assert "shown" in text
    (note,) = [note for note in plan.notes if "runs without" in note]
    for name in ("PAPERCLIP_API_KEY", "MY_TOKEN", "BIG_TOKEN", "A_KEY", "its MCP servers"):
        assert name in note


def test_secretless_instructions_are_masked() -> None:
    plan = secretless_plan(
        packed=packed_in_secret(assemble("Use c4n4ry-env wisely.", None, {})), env={"MY_TOKEN": "c4n4ry-env"}
    )
    assert "wisely" in plan.delivery.init[INSTRUCTIONS]
    assert "c4n4ry" not in json.dumps(job_manifest(plan))


def test_secretless_plan_keeps_public_servers_and_files() -> None:
    plan = secretless_plan(env={"LONG": "x" * 200_000}, mcpServers={"mine": {"command": "x"}})
    assert {"mcp.json", "env-LONG", "prompt.txt"} <= plan.delivery.init.keys()
    assert "--mcp-config" in json.dumps(job_manifest(plan))
