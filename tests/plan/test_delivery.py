"""Which way each file of a run goes: secrets only by Secret, what is too large over the shared volume."""

import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.plans import a_context, a_plan, the_job, the_secret

from paperclip_claude_k8s.plan.bundle import INSTRUCTIONS, Packed, packed_in_secret
from paperclip_claude_k8s.plan.delivery import (
    OBJECT_BYTES,
    SOURCE,
    TARGET,
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

ONLY_PROMPT = frozenset({"prompt.txt"})
MIB = 1024 * 1024
MINE = {"mine": {"url": "https://x.example", "headers": {"Authorization": "Bearer c4n4ry-header"}}}


def asking(text: str, **context: Any) -> Any:
    return a_context(context={"paperclipTaskMarkdown": text, **context})


def spec_of(ctx: Any = None, **wishes: Any) -> dict[str, Any]:
    found: dict[str, Any] = the_job(ctx, **wishes)["spec"]["template"]["spec"]
    return found


def env_of(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


# Too large -----------------------------------------------------------------------------------------------


def test_a_prompt_of_two_mib_is_staged_where_the_volume_is_on_both_sides() -> None:
    plan = a_plan(asking("x" * 2 * MIB), volume_here="/mnt")
    assert list(plan.delivery.staged) == ["prompt.txt"]
    assert plan.bulk < OBJECT_BYTES
    job = job_manifest(plan)
    assert job["metadata"]["annotations"]["paperclip.io/staged-files"] == f"run-files/{plan.job_name}"
    env = env_of(job["spec"]["template"]["spec"]["containers"][0])
    assert env["PAPERCLIP_RELAY_PROMPT"] == f"/paperclip/run-files/{plan.job_name}/prompt.txt"


@pytest.mark.parametrize("where", [{"volume_here": None}, {"volume_here": "/mnt", "home": None}])
def test_without_a_volume_on_both_sides_it_stays_too_large(where: dict[str, Any]) -> None:
    plan = a_plan(asking("x" * 2 * MIB), **where)
    assert plan.delivery.staged == {}
    assert plan.bulk > OBJECT_BYTES


def test_a_small_prompt_is_not_staged() -> None:
    plan = a_plan(volume_here="/mnt")
    assert plan.delivery.staged == {}
    assert "paperclip.io/staged-files" not in json.dumps(job_manifest(plan))


def test_a_wake_payload_too_large_for_environment_and_secret_is_found_on_the_volume() -> None:
    wake = {"reason": "r", "comments": [{"id": "1", "body": "b" * 2 * MIB}]}
    plan = a_plan(asking("hello", paperclipWake=wake), volume_here="/mnt")
    assert "wake-payload.json" in plan.delivery.staged
    env = env_of(job_manifest(plan)["spec"]["template"]["spec"]["containers"][0])
    assert env["PAPERCLIP_WAKE_PAYLOAD_FILE"] == f"/paperclip/run-files/{plan.job_name}/wake-payload.json"


def test_what_the_command_line_names_stays_where_it_says() -> None:
    servers = {"big": {"command": "x", "args": ["y" * MIB]}}
    plan = a_plan(volume_here="/mnt", mcpServers=servers)
    assert plan.delivery.staged.keys() == {"prompt.txt"}
    assert plan.bulk > OBJECT_BYTES


def test_what_is_secret_is_never_staged_however_large() -> None:
    wishes: dict[str, Any] = {"env": {"BIG_TOKEN": "c4n4ry" * 200_000}, "volume_here": "/mnt"}
    assert a_plan(**wishes).delivery.staged.keys() == {"prompt.txt"}
    assert a_plan(**wishes).bulk > OBJECT_BYTES


def test_a_secret_never_lacks_files_or_its_values_would_become_some() -> None:
    options = DeliveryOptions("secret", 10, "f", 5, ONLY_PROMPT)
    delivery = deliver({"prompt.txt": "x" * 100}, lambda *_: False, options)
    assert list(delivery.secret) == ["staged.txt"]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=60)),
    st.integers(0, 200),
    st.sampled_from(["secret", "init"]),
)
def test_every_file_goes_exactly_one_way_and_no_more_than_needed_is_staged(
    files: dict[str, str], limit: int, way: Literal["secret", "init"]
) -> None:
    options = DeliveryOptions(way, limit, "folder", movable=frozenset("abcde"))
    got = deliver(files, lambda name, _: name == "a", options)
    ways = [dict(way) for way in (got.secret, got.init, got.staged)]
    ways[0].pop("staged.txt", None)
    assert {name: text for way in ways for name, text in way.items()} == files
    assert sum(map(len, ways)) == len(files)
    assert "a" not in got.init
    assert "a" not in got.staged
    assert "f" not in got.staged
    if sum(map(size, files.values())) <= limit:
        assert got.staged == {}


# Init ----------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.sampled_from("a$é\U0001f600\n(")), st.integers(8, 40))
def test_pieces_joined_are_the_text_and_none_is_too_long(text: str, limit: int) -> None:
    cut = list(pieces(text, limit))
    assert "".join(cut) == text
    assert all(len(escaped(piece).encode()) <= limit for piece in cut)


TRICKY = "é$(HOME) $$ `x` \"q\" 'p' \\n %s\n" * 9000 + "no newline at the end"


def test_the_init_container_writes_what_it_is_given_to_the_byte(tmp_path: Path) -> None:
    container = writing_container({"prompt.txt": TRICKY, "b.json": "", "c": "-n"}, with_secret=True)
    source, target = tmp_path / "secret", tmp_path / "run"
    source.mkdir()
    target.mkdir()
    (source / "mcp.json").write_text("{}")
    env = {str(entry["name"]): str(entry["value"]).replace("$$", "$") for entry in container["env"]}  # type: ignore[attr-defined]
    env |= {TARGET: str(target), SOURCE: str(source), "PATH": "/usr/bin:/bin"}
    script = str(container["command"][2]).replace("$$", "$")  # type: ignore[index]
    subprocess.run(["sh", "-c", script], env=env, check=True)
    written = {path.name: path.read_text() for path in target.iterdir()}
    assert written == {"prompt.txt": TRICKY, "b.json": "", "c": "-n", "mcp.json": "{}"}
    assert {oct(path.stat().st_mode & 0o777) for path in target.iterdir()} == {"0o600"}


def test_with_init_the_prompt_is_in_the_job_and_secrets_are_in_the_secret_alone() -> None:
    wishes: dict[str, Any] = {"promptDelivery": "init", "mcpServers": MINE, "enableRtk": True}
    spec, secret = spec_of(**wishes), the_secret(**wishes)
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


def test_a_job_that_needs_no_secret_says_that_nothing_gates_it() -> None:
    plan = secretless()
    annotations = job_manifest(plan)["metadata"]["annotations"]
    assert (plan.secret_data, annotations["paperclip.io/ungated"]) == ({}, "true")
    assert "paperclip.io/ungated" not in the_job()["metadata"]["annotations"]


# Secrets are forbidden -----------------------------------------------------------------------------------


def secretless(ctx: Any = None, packed: Packed | None = None, **config: Any) -> RunPlan:
    plan = a_plan(ctx, **config)
    setting = RunSite("ns", plan.image, plan.home, {}, plan.nonce, packed=packed or Packed())
    return Planner(ctx or a_context(), plan.identity, plan.config, setting).plan(secretless=True)


def test_without_secrets_nothing_secret_travels_and_what_is_lacking_is_said() -> None:
    template = {"containers": [{"name": "claude", "env": [{"name": "A_KEY", "value": "c4n4ry-pod"}]}]}
    plan = secretless(
        env={"MY_TOKEN": "c4n4ry-env", "BIG_TOKEN": "c4n4ry" * 50_000, "PLAIN": "shown"},
        mcpServers=MINE,
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


def test_instructions_go_along_without_the_secrets_that_they_quote() -> None:
    plan = secretless(packed=packed_in_secret("Use c4n4ry-env wisely."), env={"MY_TOKEN": "c4n4ry-env"})
    assert "wisely" in plan.delivery.init[INSTRUCTIONS]
    assert "c4n4ry" not in json.dumps(job_manifest(plan))


def test_servers_without_credentials_and_large_plain_values_go_all_the_same() -> None:
    plan = secretless(env={"LONG": "x" * 200_000}, mcpServers={"mine": {"command": "x"}})
    assert {"mcp.json", "env-LONG", "prompt.txt"} <= plan.delivery.init.keys()
    assert "--mcp-config" in json.dumps(job_manifest(plan))
