"""The Node package in a Node host: runs on a cluster, Stop, and everything that can be wrong with Python."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bridge import a_context
from tests.support.node import node_host

from paperclip_claude_k8s import __version__, create_server_adapter
from paperclip_claude_k8s.bridge.package import write_package
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.host.session import deserialize, display_id, serialize


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    write_package(tmp_path / "shim", sys.executable)
    return tmp_path / "shim"


@pytest.fixture
async def cluster() -> AsyncIterator[DevCluster]:
    async with DevCluster.start() as running:
        yield running


def a_run(name: str, ctx: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "method": "execute", "ctx": ctx, **more}


def log_of(told: dict[str, Any], name: str) -> str:
    return "".join(chunk for _, chunk in told["heard"][name]["log"])


async def test_two_runs_at_once_and_one_that_resumes(shim: Path, cluster: DevCluster) -> None:
    ada, bob = a_context(cluster, "run-1", "ada"), a_context(cluster, "run-2", "bob")
    told, err = await node_host(shim, [[a_run("ada", ada), a_run("bob", bob, mcpServers=[{"name": "m"}])]])
    for name in ("ada", "bob"):
        answer, heard = told["answers"][name], told["heard"][name]
        assert answer["exitCode"] == 0, answer
        assert answer["costUsd"] > 0
        assert heard["order"] == ["ready", "dispatch"]
        assert heard["atOnce"] == 1, "one line at a time"
        assert heard["spawned"] == 0
        assert heard["progress"]
        assert heard["meta"][0]["promptMetrics"]["promptChars"] > 0
        assert "paperclipHostTexts" not in heard["meta"][0]["context"]
        assert log_of(told, name).count('"type":"result"') == 1
    assert err == ""
    first = told["answers"]["ada"]
    again = a_context(cluster, "run-3", "ada")
    again["runtime"] = {"sessionId": first["sessionId"], "sessionParams": first["sessionParams"]}
    told, _ = await node_host(shim, [a_run("again", again)])
    assert told["answers"]["again"]["sessionId"] == first["sessionId"]


async def test_a_slow_host_gets_every_line(shim: Path, cluster: DevCluster) -> None:
    script = "i=0; while [ $i -lt 5000 ]; do echo \"line $i {'ü\u2028'}\"; i=$((i+1)); done"
    ctx = a_context(cluster, "run-1", CLAUDE_SCRIPT=script)
    told, _ = await node_host(shim, [a_run("slow", ctx, slowMs=5)])
    stdout = "".join(chunk for stream, chunk in told["heard"]["slow"]["log"] if stream == "stdout")
    lines = [line for line in stdout.split("\n") if line.startswith("line ")]
    assert lines == [f"line {n} {{'ü\u2028'}}" for n in range(5000)]


async def test_a_host_whose_log_is_full_still_gets_a_result(shim: Path, cluster: DevCluster) -> None:
    told, err = await node_host(shim, [a_run("refused", a_context(cluster, "run-1"), refuse=True)])
    assert told["answers"]["refused"]["exitCode"] == 0
    assert "the log is full" in err


@pytest.mark.parametrize("when", [{"stopAt": '"type":"result"'}, {"stopAtOnce": True}])
async def test_stop_is_acknowledged(shim: Path, cluster: DevCluster, when: dict[str, Any]) -> None:
    ctx = a_context(cluster, "run-1", CLAUDE_SLEEP="300")
    told, _ = await node_host(shim, [a_run("stopped", ctx, **when)])
    answer = told["answers"]["stopped"]
    assert answer["errorCode"] == "cancelled"
    assert answer["resultJson"]["executionCancellation"]["state"] == "acknowledged"


async def test_a_bridge_that_dies_costs_no_second_agent_run(shim: Path, cluster: DevCluster) -> None:
    """Killed in mid-run: the evidence lets the host retry; the retry, in a new process, adopts the Job."""
    ctx = a_context(cluster, "run-1", CLAUDE_LINE_DELAY="0.3")
    retry = {**ctx, "runId": "run-2", "context": {**ctx["context"], "retryOfRunId": "run-1"}}
    told, err = await node_host(
        shim, [a_run("killed", ctx, killAt='"subtype":"init"'), a_run("retry", retry)]
    )
    killed, answer = told["answers"]["killed"], told["answers"]["retry"]
    assert killed["errorCode"] == "k8s_bridge_lost"
    assert killed["errorFamily"] == "transient_upstream"
    assert killed["resultJson"]["conversationContinuation"] == "continue_conversation_v1"
    assert "executionRecovery" not in killed
    assert "SIGKILL" in killed["errorMessage"]
    assert "adopts it" in killed["errorMessage"]
    assert answer["exitCode"] == 0
    log = log_of(told, "retry")
    assert "Created K8s Job" not in log
    assert log.count('"subtype":"init"') == 1
    assert err == ""


async def test_a_server_that_loses_its_hold_on_a_run_ends_no_agent(shim: Path, cluster: DevCluster) -> None:
    """Its signal fires as for a Stop, while it shuts down for instance; the same process may go on."""
    ctx = a_context(cluster, "run-1", CLAUDE_LINE_DELAY="0.2")
    again = {**ctx, "runId": "run-2"}
    told, err = await node_host(shim, [a_run("lost", ctx, loseAt='"subtype":"init"'), a_run("again", again)])
    lost, answer = told["answers"]["lost"], told["answers"]["again"]
    assert lost["errorCode"] == "k8s_bridge_lost"
    assert lost["resultJson"] == {"conversationContinuation": "continue_conversation_v1"}
    assert answer["exitCode"] == 0, answer
    assert "Created K8s Job" not in log_of(told, "again")
    assert err == ""


async def test_the_continuation_marker_is_a_setting(shim: Path, cluster: DevCluster) -> None:
    ctx = a_context(cluster, "run-1", CLAUDE_LINE_DELAY="0.3")
    ctx["config"]["continuationMarker"] = False
    told, _ = await node_host(shim, [a_run("killed", ctx, killAt='"subtype":"init"')])
    assert told["answers"]["killed"]["resultJson"] == {}


def broken_python(folder: Path, script: str) -> str:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)
    return str(python)


MISSING = f'exec {sys.executable} -I -S "$@"'
"""A Python that sees the standard library and nothing else."""
OLD = 'echo "$0: No module named paperclip_claude_k8s.bridge" >&2; exit 1'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, ("cannot be started", "no such file", "CLAUDE_K8S_PYTHON")),
        (MISSING, ("package is missing", "-m pip install", f"paperclip-adapter-claude-k8s=={__version__}")),
        (OLD, ("too old", __version__)),
        ("echo 'SyntaxError: invalid syntax' >&2; exit 1", ("exit code 1", "SyntaxError")),
        ("kill -9 $$", ("SIGKILL", "before it was ready")),
    ],
)
async def test_what_is_wrong_with_python_is_said_in_every_answer(
    shim: Path, tmp_path: Path, script: str | None, words: tuple[str, ...]
) -> None:
    python = str(tmp_path / "none") if script is None else broken_python(tmp_path, script)
    ctx = {"runId": "r", "agent": {"id": "a"}, "runtime": {}, "config": {}, "context": {}}
    steps = [
        a_run("run", ctx),
        {"name": "test", "method": "testEnvironment", "args": [{"config": {}}]},
        {"name": "models", "method": "listModels"},
        {"name": "skills", "method": "listSkills", "args": [{"config": {}}]},
        {"name": "form", "method": "getConfigSchema"},
        {"name": "quota", "method": "getQuotaWindows"},
        {"name": "model", "method": "detectModel"},
    ]
    told, _ = await node_host(shim, steps, {"CLAUDE_K8S_PYTHON": python})
    answers = told["answers"]
    run, (check,) = answers["run"], answers["test"]["checks"]
    for word in words:
        assert word in run["errorMessage"]
        assert word in check["message"]
        assert word in answers["skills"]["warnings"][0]
    assert run["errorCode"] == check["code"] == "adapter_engine_unavailable"
    assert run["executionRecovery"] == {"kind": "bootstrap", "providerWorkStarted": False}
    assert "errorFamily" not in run, "trying again would not help"
    assert answers["test"]["status"] == "fail"
    assert answers["models"]
    assert answers["form"]["fields"]
    assert answers["quota"]["ok"] is False
    assert answers["model"] is None


def with_facts(shim: Path, **changed: Any) -> None:
    facts = json.loads((shim / "facts.json").read_text(encoding="utf-8"))
    (shim / "facts.json").write_text(json.dumps({**facts, **changed}), encoding="utf-8")


async def test_a_python_that_does_not_answer_is_given_up(shim: Path, tmp_path: Path) -> None:
    with_facts(shim, helloMs=300)
    python = broken_python(tmp_path, "exec sleep 300")
    steps = [{"name": "test", "method": "testEnvironment", "args": [{}]}]
    told, _ = await node_host(shim, steps, {"CLAUDE_K8S_PYTHON": python})
    assert "did not answer within 0.3 s" in told["answers"]["test"]["checks"][0]["message"]


async def test_an_idle_python_is_let_go_and_started_again(shim: Path, tmp_path: Path) -> None:
    with_facts(shim, idleMs=100)
    python = broken_python(tmp_path, f'echo >> {tmp_path}/starts; exec {sys.executable} "$@"')
    steps = [
        {"name": "one", "method": "detectModel"},
        {"name": "pause", "method": "sleep", "ms": 800},
        {"name": "two", "method": "detectModel"},
    ]
    told, err = await node_host(shim, steps, {"CLAUDE_K8S_PYTHON": python, "ANTHROPIC_MODEL": "m"})
    assert [told["answers"][name]["model"] for name in ("one", "two")] == ["m", "m"]
    assert (tmp_path / "starts").read_text() == "\n\n"
    assert err == ""


async def test_versions_that_do_not_fit_are_both_named(shim: Path) -> None:
    with_facts(shim, protocol=99, version="9.9.9")
    ctx = {"runId": "r", "agent": {"id": "a"}, "runtime": {}, "config": {}, "context": {}}
    told, _ = await node_host(shim, [a_run("run", ctx)])
    run = told["answers"]["run"]
    assert run["errorCode"] == "adapter_engine_unavailable"
    for word in ("9.9.9", __version__, "99", "node-shim --out DIR"):
        assert word in run["errorMessage"]


async def test_another_version_of_the_same_protocol_is_a_warning(shim: Path) -> None:
    with_facts(shim, version="0.0.9")
    step = {"name": "test", "method": "testEnvironment", "args": [{"config": {"kubeconfig": "/nowhere"}}]}
    told, _ = await node_host(shim, [step])
    check = told["answers"]["test"]["checks"][0]
    assert (check["code"], check["level"]) == ("k8s_bridge", "warn")
    assert "0.0.9" in check["message"]


async def test_the_servers_own_secrets_stay_with_the_server(shim: Path, tmp_path: Path) -> None:
    env = {"DATABASE_URL": "postgres://u:p@h", "PAPERCLIP_AGENT_JWT_SECRET": "s", "ANTHROPIC_MODEL": "m"}
    python = broken_python(tmp_path, f"env > {tmp_path}/env; exit 1")
    step = {"name": "model", "method": "detectModel"}
    await node_host(shim, [step], {**env, "CLAUDE_K8S_PYTHON": python})
    given = (tmp_path / "env").read_text()
    assert "ANTHROPIC_MODEL=m" in given
    assert "DATABASE_URL" not in given
    assert "JWT" not in given


async def test_the_codec_says_what_python_says(shim: Path) -> None:
    values: list[Any] = [
        None,
        3,
        "text",
        [],
        {},
        {"sessionId": ""},
        {"sessionId": "  "},
        {"sessionId": " s ", "cwd": " ", "workdir": "/w"},
        {"session_id": "s", "folder": "/f", "cwd": 7, "repoUrl": "u", "repo_ref": "main"},
        {
            "sessionId": 5,
            "session_id": "s",
            "workspaceId": "w",
            "promptBundleKey": "k",
            "mcp_server_identity": "m",
        },
        {"cwd": "/w", "promptBundleKey": "k"},
        {"sessionId": "s", "unknown": {"deep": 1}, "__paperclipConfigFingerprint": "x"},
    ]
    told, _ = await node_host(shim, [{"name": "codec", "method": "codec", "values": values}])
    ours = [
        {"deserialize": deserialize(v), "serialize": serialize(v), "getDisplayId": display_id(v)}
        for v in values
    ]
    assert told["answers"]["codec"] == ours


async def test_the_members_are_those_of_the_adapter(shim: Path) -> None:
    adapter: Any = create_server_adapter()
    names = (
        "type",
        "label",
        "supportsLocalAgentJwt",
        "supportsInstructionsBundle",
        "instructionsPathKey",
        "requiresMaterializedRuntimeSkills",
        "runtimeToolDelivery",
        "agentConfigurationDoc",
        "sessionManagement",
    )
    told, _ = await node_host(shim, [{"name": name, "method": "member", "member": name} for name in names])
    assert told["answers"] == {name: getattr(adapter, name) for name in names}
