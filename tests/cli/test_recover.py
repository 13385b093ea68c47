"""`claude-k8s recover`: which tasks it finds, what it reports, and which programs it may start."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import write_kubeconfig
from tests.support.cli_commands import claude_k8s

from paperclip_claude_k8s.cli.command_options import RecoverOptions
from paperclip_claude_k8s.cli.paperclip_server import HOLD_CAUSES
from paperclip_claude_k8s.cli.recover_command import recover
from paperclip_claude_k8s.cluster import labels
from paperclip_claude_k8s.devcluster.dev_cluster import DevCluster


class _Server(ThreadingHTTPServer):
    """Answers as a Paperclip server that holds one task. The agent of the task has the settings `config`."""

    config: dict[str, str]
    cause: str = "legacy_execution_requires_reconciliation"
    revisions: list[object]
    """Changes of the agent's settings."""
    decisions: list[dict[str, Any]]
    """What was posted to the server."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        answers: dict[str, object] = {
            "/api/companies": [{"id": "c"}],
            "/api/companies/c/agents": [
                {
                    "id": "a",
                    "name": "A",
                    "adapterType": labels.ADAPTER_TYPE,
                    "adapterConfig": self.server.config,
                }
            ],
            "/api/companies/c/heartbeat-runs": [
                {"id": "r", "status": "failed", "contextSnapshot": {"issueId": "i"}}
            ],
            "/api/heartbeat-runs/r": {
                "execution": {"cause": self.server.cause},
                "createdAt": "2026-01-01T00:00:00.000Z",
            },
            "/api/heartbeat-runs/r/events": [],
            "/api/agents/a/config-revisions": self.server.revisions,
            "/api/issues/i": {"status": "blocked", "title": "T"},
            "/api/issues/i/recovery-actions": {"active": {"cause": self.server.cause, "id": "x"}},
        }
        self._respond(answers[self.path.partition("?")[0]])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.decisions.append(json.loads(body)["executionReconciliation"])
        self._respond({})

    def _respond(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No lines on stderr."""


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.revisions, server.decisions = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def write_kubeconfig_with_program(folder: Path) -> Path:
    """Write a kubeconfig with an exec plugin: a program that creates the file `mark`."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {folder}/mark\nexit 1\n")
    program.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "agents"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    return path


@pytest.mark.parametrize("named_by_option", [False, True])
def test_exec_plugin_runs_only_if_an_option_names_its_kubeconfig(
    tmp_path: Path,
    server: _Server,
    named_by_option: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
) -> None:
    kubeconfig = write_kubeconfig_with_program(tmp_path)
    server.config = {"kubeconfig": str(kubeconfig)}
    url = f"http://127.0.0.1:{server.server_address[1]}"
    recover(
        RecoverOptions(
            server=url,
            dry_run=True,
            kubeconfig=kubeconfig if named_by_option else None,
            kubeconfig_from_option=named_by_option,
        )
    )
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["job_state"], task["outcome"]) == ("unknown", "held")
    assert ("execPlugins" in task["evidence"]) is not named_by_option
    assert (tmp_path / "mark").exists() is named_by_option


def test_nothing_is_read_under_an_unusable_policy(
    tmp_path: Path,
    server: _Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLAUDE_K8S_POLICY", str(tmp_path / "missing.yaml"))
    server.config = {"kubeconfig": write_kubeconfig(tmp_path)}
    recover(RecoverOptions(server=f"http://127.0.0.1:{server.server_address[1]}", dry_run=True))
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["job_state"], task["outcome"]) == ("unknown", "held")
    assert "policy cannot be used" in task["evidence"]


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://me:hunter2@127.0.0.1:99999", ""),
        ("http://me:hunter2@[::1", ""),
        ("http://192.0.2.1", "socks5://me:hunter2@127.0.0.1"),
        ("http://192.0.2.1", "http://me:hunter2@[::1"),
    ],
)
async def test_unusable_server_or_proxy_url_is_reported_without_its_password(url: str, proxy: str) -> None:
    code, out, err = await claude_k8s("recover", "--server", url, env={"HTTP_PROXY": proxy})
    assert (code, json.loads(out)["error"]) == (1, "task_failed")
    assert err.startswith("error: task_failed: ")
    assert "hunter2" not in out + err


@pytest.mark.parametrize("cause", sorted(HOLD_CAUSES))
def test_task_is_found_for_each_cause_of_a_hold(
    cause: str, server: _Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.config, server.cause = {}, cause
    recover(RecoverOptions(server=f"http://127.0.0.1:{server.server_address[1]}", dry_run=True))
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["run"], task["outcome"]) == ("r", "held")


@pytest.mark.parametrize("release_absent", [False, True])
@pytest.mark.parametrize("changed", [False, True])
async def test_task_without_a_job_is_released_if_its_place_is_proven_or_the_operator_says_so(
    server: _Server,
    tmp_path: Path,
    changed: bool,  # noqa: FBT001
    release_absent: bool,  # noqa: FBT001
) -> None:
    async with DevCluster.start(folder=tmp_path) as cluster:
        kubeconfig = str(cluster.kubeconfig)
        server.config = {"kubeconfig": kubeconfig, "namespace": "paperclip"}
        if changed:
            before = {"adapterConfig": {"kubeconfig": kubeconfig, "kubeContext": "other"}}
            server.revisions = [{"createdAt": "2026-01-02T00:00:00.000Z", "beforeConfig": before}]
        option = ["--release-absent"] if release_absent else []
        url = f"http://127.0.0.1:{server.server_address[1]}"
        code, out, _ = await claude_k8s("recover", "--server", url, *option)
    (task,) = json.loads(out)["tasks"]
    released = release_absent or not changed
    assert (code == 0, task["outcome"] == "released") == (released, released)
    assert task["job_state"] == ("not_found" if changed else "absent")
    assert [decision["providerStopped"] for decision in server.decisions] == ([True] if released else [])
    assert ("--release-absent" in task["evidence"]) is not released
