"""Credentials of a run are in its Kubernetes Secret, and in nothing that other users may read."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.support.plans import HOME, a_context, a_plan, the_job, the_secret

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.delivery import OBJECT_BYTES
from paperclip_claude_k8s.plan.identity import identify
from paperclip_claude_k8s.plan.manifest import job_manifest
from paperclip_claude_k8s.plan.planner import Planner
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.run_site import RunSite
from paperclip_claude_k8s.run.begin import announce

ENV = {
    "FOO": "c4n4ry-ordinary-1",
    "NPM_CONFIG__AUTH": "c4n4ry-auth",
    "DB_PASS": "c4n4ry",
    "MYSQL_PWD": "c4n4ry",
    "AZURE": "AccountKey=c4n4ry",
    "TMPDIR": "/paperclip/c4n4ry",
    "SHORT": "c4n4",
    "EMPTY": "",
}


@pytest.mark.parametrize("delivery", ["secret", "init"])
def test_every_value_of_config_env_is_in_the_secret_only(delivery: str) -> None:
    options: dict[str, Any] = {"env": ENV, "promptDelivery": delivery}
    job, secret = json.dumps(the_job(**options)), the_secret(**options)["stringData"]
    assert "c4n4" not in job
    assert {name: secret[f"env.{name}"] for name in ENV} == ENV
    assert all(f'"name": "{name}"' in job for name in ENV)


def test_ordinary_values_of_the_home_pod_stay_plain() -> None:
    env: tuple[dict[str, object], ...] = (
        {"name": "FOO", "value": "plain"},
        {"name": "SMTP_AUTH", "value": "c4n4ry"},
        {"name": "ANY", "value": "glpat-c4n4ryc4n4ry"},
        {"name": "KEYS", "value": "-----BEGIN PRIVATE KEY-----\nc4n4ry"},
    )
    job = json.dumps(the_job(home=replace(HOME, env=env)))
    assert '"value": "plain"' in job
    assert "c4n4ry" not in job


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pass", "c4n4ry"],
        ["--auth=c4n4ry"],
        ["--header", "X-Gateway: c4n4ry"],
        ["--settings", '{"env":{"A":"c4n4ry"}}'],
        ["--any", "xoxb-c4n4ryc4n4ry"],
        ["--repeats", "c4n4ry-ordinary-1"],
    ],
)
async def test_secret_arguments_are_in_the_secret_only(arguments: list[str]) -> None:
    options: dict[str, Any] = {"env": {"FOO": "c4n4ry-ordinary-1"}, "extraArgs": arguments}
    assert "c4n4ry" not in json.dumps(the_job(**options))
    assert "c4n4ry" not in json.dumps(await meta_of(a_plan(**options)))


async def meta_of(plan: RunPlan) -> Mapping[str, Any]:
    """What `onMeta` gets about the plan."""
    seen: list[Mapping[str, Any]] = []

    async def on_meta(meta: Mapping[str, Any]) -> None:
        seen.append(meta)

    await announce(a_context(onMeta=on_meta), plan)
    return seen[0]


def test_dollars_of_values_reach_the_agent_unchanged() -> None:
    values = {"A": "$(HOME) $$ $x", "B": "$$(HOME)"}
    secret = the_secret(env=values)["stringData"]
    assert {name: secret[f"env.{name}"] for name in values} == values


@pytest.mark.parametrize(
    "server",
    [
        {"command": "x", "args": ["--api-key", "c4n4ry"]},
        {"command": "x", "args": ["-y", "pkg", "--header", "X-A: c4n4ry"]},
        {"type": "http", "url": "https://u:c4n4ry@x.example"},
        {"type": "http", "url": "https://x.example/?token=c4n4ry"},
        {"type": "http", "url": "https://x.example", "headers": {"X-Ordinary": "c4n4ry"}},
        {"command": "x", "env": {"ORDINARY": "c4n4ry"}},
        {"command": "x", "oauth": {"clientSecret": "c4n4ry"}},
    ],
)
def test_secrets_of_mcp_servers_are_in_the_secret_only(server: dict[str, Any]) -> None:
    options: dict[str, Any] = {"mcpServers": {"a": server}, "promptDelivery": "init"}
    assert "c4n4ry" not in json.dumps(the_job(**options))
    assert "c4n4ry" in the_secret(**options)["stringData"]["mcp.json"]


SIDECAR = {"name": "side", "image": "i"}


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_secret_arguments_of_other_containers_are_in_the_secret(kind: str) -> None:
    side = {
        **SIDECAR,
        "command": ["serve", "--pass", "c4n4ry$$1"],
        "args": ["--auth=c4n4ry-2", "$(X)", "--plain"],
    }
    options: dict[str, Any] = {"podTemplate": {"spec": {kind: [side]}}}
    job, secret = the_job(**options), the_secret(**options)["stringData"]
    assert "c4n4ry" not in json.dumps(job)
    (found,) = [c for c in job["spec"]["template"]["spec"][kind] if c["name"] == "side"]
    assert found["args"][1:] == ["$(X)", "--plain"]
    named = {entry["name"]: entry["valueFrom"]["secretKeyRef"]["key"] for entry in found["env"]}
    # [2:-1]: the name in `$(NAME)`
    assert secret[named[found["command"][2][2:-1]]] == "c4n4ry$1"  # `$$` as Kubernetes resolves it
    assert secret[named[found["args"][0][2:-1]]] == "--auth=c4n4ry-2"


def test_references_in_the_pod_template_are_still_resolved() -> None:
    env = [
        {"name": "DB_PASS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "DB_URL_SECRET", "value": "postgres://u:$(DB_PASS)@db"},
        {"name": "LITERAL_PASS", "value": "c4n4ry-$$(NOT)"},
    ]
    side = {**SIDECAR, "env": env, "args": ["--pass=$(DB_PASS)"]}
    options: dict[str, Any] = {"podTemplate": {"spec": {"containers": [side]}}}
    (found,) = [
        c for c in the_job(**options)["spec"]["template"]["spec"]["containers"] if c["name"] == "side"
    ]
    assert found["env"][:2] == env[:2]
    assert found["args"] == ["--pass=$(DB_PASS)"]
    assert the_secret(**options)["stringData"]["pod.side.LITERAL_PASS"] == "c4n4ry-$(NOT)"


def test_annotations_and_labels_with_credentials_are_left_out_and_named() -> None:
    metadata = {
        "annotations": {"a": "ghp_c4n4ryc4n4ry", "vault.example/agent-inject-secret-x": "secret/data/x"},
        "labels": {"l": "glpat-c4n4ryc4n4ry", "team": "a"},
    }
    options: dict[str, Any] = {
        "podTemplate": {"metadata": metadata},
        "labels": {"m": "ghp_c4n4ryc4n4ry", "n": "x"},
    }
    job = the_job(**options)
    assert "c4n4ry" not in json.dumps(job)
    assert job["spec"]["template"]["metadata"]["annotations"]["vault.example/agent-inject-secret-x"]
    (note,) = [note for note in a_plan(**options).notes if "left out" in note]
    assert "metadata.annotations.a, metadata.labels.l" in note
    assert "c4n4ry" not in note


def plan_without_secrets(**config: Any) -> RunPlan:
    """A plan of a process that may not create Secrets."""
    ctx = a_context()
    identity = identify(ctx)
    assert identity is not None
    site = RunSite("ns", "i", HOME, {}, "0123abcd")
    return Planner(ctx, identity, AdapterConfig.read(config), site).plan(secretless=True)


def test_without_a_run_secret_only_values_that_look_ordinary_are_plain() -> None:
    env = {
        "AWS_REGION": "eu-west-1",
        "DB_PASS": "c4n4ry-1",
        "ANY": "AKIAC4N4RYC4N4RY",
        "URL": "https://u:c4n4ry@x",
        "LONG": "x" * 200_000,
        "LONG_PASS": "c4n4ry" * 20_000,
    }
    plan = plan_without_secrets(
        env=env, podTemplate={"spec": {"containers": [{**SIDECAR, "args": ["--pass", "c4n4ry"]}]}}
    )
    job = json.dumps(job_manifest(plan))
    assert "c4n4ry" not in job.lower()
    assert '{"name": "AWS_REGION", "value": "eu-west-1"}' in job
    assert plan.secret_data == {}
    notes = "\n".join(plan.notes)
    assert "Plain in the Job, where others may read them: AWS_REGION, LONG;" in notes
    (missing,) = [note for note in plan.notes if note.startswith("The agent runs without")]
    assert all(f" {name}," in missing for name in ("ANY", "DB_PASS", "LONG_PASS", "PAPERCLIP_API_KEY", "URL"))
    assert "AWS_REGION" not in missing


def test_long_values_of_config_env_are_in_the_secret_unless_it_cannot_hold_them() -> None:
    plan = a_plan(env={"LONG": "c4n4ry" * 50_000}, promptDelivery="init")
    assert plan.delivery.secret["env-LONG"] == "c4n4ry" * 50_000
    assert "c4n4ry" not in json.dumps(job_manifest(plan))
    huge = a_plan(env={"HUGE": "x" * (OBJECT_BYTES + 1)}, volume_here="/data")
    assert list(huge.delivery.staged) == ["env-HUGE"]


def test_ordinary_values_of_config_env_are_not_masked() -> None:
    plan = a_plan(env={"STAGE": "production", "OTHER_PASS": "hunter2-hunter2"})
    assert "production" not in plan.secret_values
    assert "hunter2-hunter2" in plan.secret_values
