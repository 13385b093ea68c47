"""The npm package in a Node host: runs on a cluster, cancellation, signals, and a Python process that fails.

The Python process that the package starts is called the bridge.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.bridge import a_context
from tests.support.node import node_host, run_step, warnings_in

from paperclip_claude_k8s import __version__, create_server_adapter
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.host.session import FIELD_SPELLINGS, deserialize, display_id, serialize


def lines_of_agent(log: str) -> list[str]:
    return [line for line in log.split("\n") if not line.startswith("[paperclip] ")]


def disable_restarts(shim: Path) -> None:
    """Change the package so that it does not replace a Python process that ends during a run."""
    run_js = shim / "run.js"
    run_js.write_text(run_js.read_text().replace("const RESTARTS = 5;", "const RESTARTS = 0;"))


def log_of(outcome: dict[str, Any], name: str) -> str:
    return "".join(chunk for _, chunk in outcome["callbacks"][name]["log"])


async def test_shim_runs_two_agents_and_resumes_one(shim: Path, dev_cluster: DevCluster) -> None:
    ada, bob = a_context(dev_cluster, "run-1", "ada"), a_context(dev_cluster, "run-2", "bob")
    outcome, err = await node_host(
        shim, [[run_step("ada", ada), run_step("bob", bob, mcpServers=[{"name": "m"}])]]
    )
    for name in ("ada", "bob"):
        result, callbacks = outcome["results"][name], outcome["callbacks"][name]
        assert result["exitCode"] == 0, result
        assert result["costUsd"] > 0
        assert callbacks["order"] == ["ready", "dispatch"]
        assert callbacks["maxConcurrent"] == 1, "calls of onLog must not overlap"
        assert callbacks["spawned"] == 0
        assert callbacks["progress"]
        assert callbacks["meta"][0]["promptMetrics"]["promptChars"] > 0
        assert "paperclipHostTexts" not in callbacks["meta"][0]["context"]
        assert log_of(outcome, name).count("✓ done") == 1
    assert warnings_in(err) == []
    first = outcome["results"]["ada"]
    again = a_context(dev_cluster, "run-3", "ada")
    again["runtime"] = {"sessionId": first["sessionId"], "sessionParams": first["sessionParams"]}
    outcome, _ = await node_host(shim, [run_step("again", again)])
    assert outcome["results"]["again"]["sessionId"] == first["sessionId"]


async def test_shim_passes_every_line_to_a_slow_host(shim: Path, dev_cluster: DevCluster) -> None:
    script = "i=0; while [ $i -lt 5000 ]; do echo \"line $i {'ü\u2028'}\"; i=$((i+1)); done"
    ctx = a_context(dev_cluster, "run-1", CLAUDE_SCRIPT=script)
    ctx["config"]["logFormat"] = "events"
    outcome, _ = await node_host(shim, [run_step("slow", ctx, slowMs=5)])
    stdout = "".join(chunk for stream, chunk in outcome["callbacks"]["slow"]["log"] if stream == "stdout")
    lines = [line for line in stdout.split("\n") if line.startswith("line ")]
    assert lines == [f"line {n} {{'ü\u2028'}}" for n in range(5000)]


async def test_shim_run_succeeds_although_the_host_refuses_lines(shim: Path, dev_cluster: DevCluster) -> None:
    outcome, err = await node_host(shim, [run_step("refused", a_context(dev_cluster, "run-1"), refuse=True)])
    assert outcome["results"]["refused"]["exitCode"] == 0
    assert "the log is full" in err


@pytest.mark.parametrize("when", [{"stopAt": "● Second part"}, {"stopAtOnce": True}])
async def test_shim_acknowledges_the_cancellation_of_a_run(
    shim: Path, dev_cluster: DevCluster, when: dict[str, Any]
) -> None:
    ctx = a_context(dev_cluster, "run-1", CLAUDE_SLEEP="300")
    outcome, _ = await node_host(shim, [run_step("stopped", ctx, **when)])
    result = outcome["results"]["stopped"]
    assert result["errorCode"] == "cancelled"
    assert result["resultJson"]["executionCancellation"]["state"] == "acknowledged"


async def test_shim_replaces_a_killed_bridge_which_adopts_the_job(
    shim: Path, dev_cluster: DevCluster
) -> None:
    """The run succeeds in one call, and the server gets every line once."""
    ctx = a_context(dev_cluster, "run-1", CLAUDE_LINE_DELAY="0.2")
    whole = a_context(dev_cluster, "run-2", "bob")
    outcome, _ = await node_host(
        shim, [run_step("killed", ctx, killAt="· session"), run_step("whole", whole)]
    )
    result, callbacks = outcome["results"]["killed"], outcome["callbacks"]["killed"]
    assert result["exitCode"] == 0, result
    assert result["resultJson"]["log"]["complete"] is True
    log = log_of(outcome, "killed")
    assert log.count("Created K8s Job") == 1
    assert "ended by SIGKILL" in log
    assert "starting it again" in log
    assert lines_of_agent(log)[1:] == lines_of_agent(log_of(outcome, "whole"))[1:]  # line 0 names the session
    assert callbacks["order"] == ["ready", "dispatch"]
    assert len(callbacks["meta"]) == 1


async def test_shim_ends_a_run_whose_bridge_is_killed_and_has_no_restart_left(
    shim: Path, dev_cluster: DevCluster
) -> None:
    """The result allows the host to retry; the retry adopts the Job."""
    ctx = a_context(dev_cluster, "run-1", CLAUDE_LINE_DELAY="0.3")
    retry = {**ctx, "runId": "run-2", "context": {**ctx["context"], "retryOfRunId": "run-1"}}
    disable_restarts(shim)
    outcome, err = await node_host(
        shim, [run_step("killed", ctx, killAt="· session"), run_step("retry", retry)]
    )
    killed, result = outcome["results"]["killed"], outcome["results"]["retry"]
    assert killed["errorCode"] == "k8s_bridge_lost"
    assert killed["errorFamily"] == "transient_upstream"
    assert killed["resultJson"]["conversationContinuation"] == "continue_conversation_v1"
    assert "executionRecovery" not in killed
    assert "SIGKILL" in killed["errorMessage"]
    assert "adopts it" in killed["errorMessage"]
    assert result["exitCode"] == 0
    log = log_of(outcome, "retry")
    assert "Created K8s Job" not in log
    assert log.count("· session") == 1
    assert warnings_in(err) == []


async def test_shim_ends_runs_before_the_server_handles_sigterm(shim: Path, dev_cluster: DevCluster) -> None:
    """The result allows the server to start a run that adopts the Job after the server's restart."""
    ctx = a_context(dev_cluster, "run-1", CLAUDE_LINE_DELAY="0.3")
    retry = {**ctx, "runId": "run-2", "context": {**ctx["context"], "retryOfRunId": "run-1"}}
    outcome, _ = await node_host(
        shim, [run_step("stopped", ctx, sigtermAt="· session"), run_step("retry", retry)]
    )
    stopped, result = outcome["results"]["stopped"], outcome["results"]["retry"]
    assert outcome["signals"] == [{"name": "SIGTERM", "active": 0, "open": 0}]
    assert stopped["errorCode"] == "k8s_server_stopped"
    assert stopped["errorFamily"] == "transient_upstream"
    assert stopped["resultJson"] == {"conversationContinuation": "continue_conversation_v1"}
    assert "adopts it" in stopped["errorMessage"]
    assert result["errorCode"] == "k8s_server_stopped", (
        "the retry begins while the server still stops, and fails at once"
    )
    assert result["executionRecovery"] == {"kind": "bootstrap", "providerWorkStarted": False}


async def test_shim_does_not_handle_signals_while_no_run_is_active(
    shim: Path, dev_cluster: DevCluster
) -> None:
    ctx = a_context(dev_cluster, "run-1")
    pause = {"name": "pause", "method": "sleep", "ms": 300}  # meanwhile the host stores the result
    sigterm = {"name": "signal", "method": "sigterm"}
    steps = [run_step("one", ctx), pause, sigterm, run_step("two", ctx | {"runId": "2"})]
    outcome, _ = await node_host(shim, steps)
    assert outcome["signals"] == [{"name": "SIGTERM", "active": 0, "open": 0}]
    assert outcome["results"]["two"]["exitCode"] == 0
    assert outcome["listeners"] == 1


async def test_shim_does_not_stop_the_agent_if_the_server_loses_its_lease(
    shim: Path, dev_cluster: DevCluster
) -> None:
    """A server that loses its lease on a run, for example while it shuts down, aborts the run's signal."""
    ctx = a_context(dev_cluster, "run-1", CLAUDE_LINE_DELAY="0.2")
    again = {**ctx, "runId": "run-2"}
    outcome, err = await node_host(
        shim, [run_step("lost", ctx, loseAt="· session"), run_step("again", again)]
    )
    lost, result = outcome["results"]["lost"], outcome["results"]["again"]
    assert lost["errorCode"] == "k8s_bridge_lost"
    assert lost["resultJson"] == {"conversationContinuation": "continue_conversation_v1"}
    assert result["exitCode"] == 0, result
    assert "Created K8s Job" not in log_of(outcome, "again")
    assert warnings_in(err) == []


async def test_shim_continuation_marker_can_be_switched_off(shim: Path, dev_cluster: DevCluster) -> None:
    ctx = a_context(dev_cluster, "run-1", CLAUDE_LINE_DELAY="0.3")
    ctx["config"]["continuationMarker"] = False
    disable_restarts(shim)
    outcome, _ = await node_host(shim, [run_step("killed", ctx, killAt="· session")])
    assert outcome["results"]["killed"]["resultJson"] == {}


def write_python(folder: Path, script: str) -> str:
    """Write a shell script to be started instead of Python; return its path."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)
    return str(python)


MISSING_PYTHON = None
PYTHON_WITHOUT_PACKAGE = f'exec {sys.executable} -I -S "$@"'
"""Runs a Python that finds only the standard library."""
PYTHON_WITH_OLD_PACKAGE = 'echo "$0: No module named paperclip_claude_k8s.bridge" >&2; exit 1'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (MISSING_PYTHON, ("cannot be started", "no such file", "CLAUDE_K8S_PYTHON")),
        (
            PYTHON_WITHOUT_PACKAGE,
            ("package is missing", "-m pip install", f"paperclip-adapter-claude-k8s=={__version__}"),
        ),
        (PYTHON_WITH_OLD_PACKAGE, ("too old", __version__)),
        ("echo 'SyntaxError: invalid syntax' >&2; exit 1", ("exit code 1", "SyntaxError")),
        ("kill -9 $$", ("SIGKILL", "before it was ready")),
    ],
)
async def test_shim_with_a_broken_python_reports_it_or_uses_fallbacks(
    shim: Path, tmp_path: Path, script: str | None, words: tuple[str, ...]
) -> None:
    python = str(tmp_path / "none") if script is MISSING_PYTHON else write_python(tmp_path, script)
    ctx = {"runId": "r", "agent": {"id": "a"}, "runtime": {}, "config": {}, "context": {}}
    steps = [
        run_step("run", ctx),
        {"name": "test", "method": "testEnvironment", "args": [{"config": {}}]},
        {"name": "models", "method": "listModels"},
        {"name": "skills", "method": "listSkills", "args": [{"config": {}}]},
        {"name": "form", "method": "getConfigSchema"},
        {"name": "quota", "method": "getQuotaWindows"},
        {"name": "model", "method": "detectModel"},
    ]
    outcome, _ = await node_host(shim, steps, {"CLAUDE_K8S_PYTHON": python})
    results = outcome["results"]
    run, (check,) = results["run"], results["test"]["checks"]
    for word in words:
        assert word in run["errorMessage"]
        assert word in check["message"]
        assert word in results["skills"]["warnings"][0]
    assert run["errorCode"] == check["code"] == "adapter_engine_unavailable"
    assert run["executionRecovery"] == {"kind": "bootstrap", "providerWorkStarted": False}
    assert "errorFamily" not in run, "a retry would not help"
    assert results["test"]["status"] == "fail"
    assert results["models"]
    assert results["form"]["fields"]
    assert results["quota"]["ok"] is False
    assert results["model"] is None


def change_facts(shim: Path, **changed: Any) -> None:
    facts = json.loads((shim / "facts.json").read_text(encoding="utf-8"))
    (shim / "facts.json").write_text(json.dumps({**facts, **changed}), encoding="utf-8")


async def test_shim_reports_a_python_that_sends_no_hello_in_time(shim: Path, tmp_path: Path) -> None:
    change_facts(shim, helloMs=300)
    python = write_python(tmp_path, "exec sleep 300")
    steps = [{"name": "test", "method": "testEnvironment", "args": [{}]}]
    outcome, _ = await node_host(shim, steps, {"CLAUDE_K8S_PYTHON": python})
    assert "did not answer within 0.3 s" in outcome["results"]["test"]["checks"][0]["message"]


async def test_shim_ends_an_idle_python_and_starts_it_again(shim: Path, tmp_path: Path) -> None:
    change_facts(shim, idleMs=100)
    python = write_python(tmp_path, f'echo >> {tmp_path}/starts; exec {sys.executable} "$@"')
    steps = [
        {"name": "one", "method": "detectModel"},
        {"name": "pause", "method": "sleep", "ms": 800},
        {"name": "two", "method": "detectModel"},
    ]
    outcome, err = await node_host(shim, steps, {"CLAUDE_K8S_PYTHON": python, "ANTHROPIC_MODEL": "m"})
    assert [outcome["results"][name]["model"] for name in ("one", "two")] == ["m", "m"]
    assert (tmp_path / "starts").read_text() == "\n\n"  # one line for each start
    assert warnings_in(err) == []


async def test_shim_names_both_incompatible_versions(shim: Path) -> None:
    change_facts(shim, protocol=99, version="9.9.9")
    ctx = {"runId": "r", "agent": {"id": "a"}, "runtime": {}, "config": {}, "context": {}}
    outcome, _ = await node_host(shim, [run_step("run", ctx)])
    run = outcome["results"]["run"]
    assert run["errorCode"] == "adapter_engine_unavailable"
    for word in ("9.9.9", __version__, "99", "node-shim --out DIR"):
        assert word in run["errorMessage"]


async def test_shim_warns_of_another_package_version(shim: Path) -> None:
    change_facts(shim, version="0.0.9")
    step = {"name": "test", "method": "testEnvironment", "args": [{"config": {"kubeconfig": "/nowhere"}}]}
    outcome, _ = await node_host(shim, [step])
    checks = outcome["results"]["test"]["checks"]
    (check,) = (check for check in checks if check["code"] == "k8s_bridge")
    assert check["level"] == "warn"
    ranks = [["error", "warn", "info"].index(check["level"]) for check in checks]
    assert ranks == sorted(ranks), "what needs attention comes first"
    assert "0.0.9" in check["message"]


async def test_shim_does_not_pass_secrets_of_the_server_to_python(shim: Path, tmp_path: Path) -> None:
    env = {"DATABASE_URL": "postgres://u:p@h", "PAPERCLIP_AGENT_JWT_SECRET": "s", "ANTHROPIC_MODEL": "m"}
    python = write_python(tmp_path, f"env > {tmp_path}/env; exit 1")
    step = {"name": "model", "method": "detectModel"}
    await node_host(shim, [step], {**env, "CLAUDE_K8S_PYTHON": python})
    passed = (tmp_path / "env").read_text()
    assert "ANTHROPIC_MODEL=m" in passed
    assert "DATABASE_URL" not in passed
    assert "JWT" not in passed


async def test_shim_session_codec_equals_the_one_in_python(shim: Path) -> None:
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
        *(
            {"sessionId": "s", spelling: "x"}
            for spellings in FIELD_SPELLINGS.values()
            for spelling in spellings
        ),
        {"sessionId": "s", "unknown": {"deep": 1}, "__paperclipConfigFingerprint": "x"},
    ]
    outcome, _ = await node_host(shim, [{"name": "codec", "method": "codec", "values": values}])
    expected = [
        {"deserialize": deserialize(v), "serialize": serialize(v), "getDisplayId": display_id(v)}
        for v in values
    ]
    assert outcome["results"]["codec"] == expected


async def test_shim_has_the_attributes_of_the_adapter(shim: Path) -> None:
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
    outcome, _ = await node_host(shim, [{"name": name, "method": "member", "member": name} for name in names])
    assert outcome["results"] == {name: getattr(adapter, name) for name in names}


async def test_shim_failure_does_not_repeat_the_transcript(shim: Path, dev_cluster: DevCluster) -> None:
    """The server's page shows all of a failed run's `resultJson`."""
    script = "echo a line of stdout; for i in $(seq 500); do echo it broke >&2; done; exit 3"
    ctx = a_context(dev_cluster, "run-1", CLAUDE_SCRIPT=script)
    outcome, _ = await node_host(shim, [run_step("failed", ctx)])
    result_json = outcome["results"]["failed"]["resultJson"]
    assert "stdout" not in result_json
    assert result_json["stderr"].endswith("it broke\n")
    assert len(result_json["stderr"]) <= 1000  # the agent printed 4,500 characters
    assert "a line of stdout" in log_of(outcome, "failed")
