"""A new operator follows `docs/quick-start.md` on a real cluster: the commands of the page run as they are.

Two things do not come from the page: the image, which is the scripted agent `local/agent:1`, and the volume,
which a storage class would provide.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.support.cli_commands import SOURCE, claude_k8s
from tests.support.programs import ADMIN, kubectl, program
from tests.support.real_cluster import VOLUME
from tests.support.runs import SMALL_REQUESTS
from tests.support.static_volumes import claim_of_auto, static_volume

from paperclip_claude_k8s.docs import FOLDER

pytestmark = pytest.mark.real

KEY = "sk-ant-not-a-real-key"
PAGE = (FOLDER / "quick-start.md").read_text(encoding="utf-8")
AGENT = r"""
echo kept >>"${CLAUDE_CONFIG_DIR:-$HOME}/proof"
printf '{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
printf '{"type":"result","subtype":"success","is_error":false,"result":"%s %s","session_id":"s"}\n' \
  "$ANTHROPIC_API_KEY" "$(id -u)"
"""
"""Writes a file into the folder of its sessions, or into HOME. Answers with its API key and its user id."""


def commands(step: str) -> str:
    """The commands in the section of the page whose heading begins with `step`."""
    (section,) = re.findall(rf"^## {re.escape(step)}.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


@dataclass(frozen=True, slots=True)
class Operator:
    """Runs the commands of the page in one folder, with the kubeconfig of the administrator."""

    folder: Path
    namespace: str

    async def follow(self, step: str, stdin: str = "") -> tuple[int, str, str]:
        """Run the commands of a step. Returns exit code, stdout and stderr."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "KUBECONFIG": ADMIN,
            "NAMESPACE": self.namespace,
            "IMAGE": "local/agent:1",
            "SERVER_IMAGE": "local/agent:1",
            "CLAUDE_K8S_STATE_DIR": str(self.folder / "state"),
        }
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            commands(step),
            cwd=self.folder,
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    async def do(self, step: str, stdin: str = "") -> str:
        """Run the commands of a step, which succeed. Returns stdout."""
        code, out, err = await self.follow(step, stdin)
        assert code == 0, f"{step}\n{out}\n{err}"
        return out

    async def set_up(self, steps: Sequence[str]) -> None:
        for step in steps:
            stdin = f"{KEY}\n" if step.startswith("5.") else ""  # step 5 asks for the API key
            await self.do(step, stdin)


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    """An operator with the command installed, and a volume for the claim of a fresh namespace."""
    namespace = f"quick-start-{uuid.uuid4().hex[:8]}"
    python = shlex.quote(sys.executable)
    command = f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {python} -m paperclip_claude_k8s "$@"\n'
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "claude-k8s"
    script.write_text(command)
    script.chmod(0o755)
    claims = {
        "home": ("agents-home", "ReadWriteMany"),
        "sessions": (claim_of_auto("cli", "local"), "ReadWriteOnce"),
    }
    volumes = [f"{namespace}-{name}" for name in claims]
    for volume, (claim, mode) in zip(volumes, claims.values(), strict=True):
        folder = Path(VOLUME).with_name(volume)
        folder.mkdir()
        folder.chmod(0o777)
        made = static_volume(volume, folder, namespace, claim, mode)
        await kubectl(ADMIN, "create", "-f", "-", stdin=json.dumps(made))
    try:
        yield Operator(tmp_path, namespace)
    finally:
        await kubectl(ADMIN, "delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        await kubectl(ADMIN, "delete", "persistentvolume", *volumes, "--wait=false")
        for volume in volumes:
            shutil.rmtree(Path(VOLUME).with_name(volume), ignore_errors=True)


@pytest.mark.slow
async def test_quick_start_leads_to_an_answer_in_a_restricted_namespace(operator: Operator) -> None:
    await operator.set_up(["2.", "4.", "5.", "6.", "7."])
    found = json.loads(await kubectl(ADMIN, "get", "namespace", operator.namespace, "-o", "json"))
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    path = operator.folder / "agents.kubeconfig"
    users = yaml.safe_load(path.read_text())["users"]
    assert [(user["name"], list(user["user"])) for user in users] == [("paperclip", ["token"])]
    assert path.stat().st_mode & 0o077 == 0

    config = json.loads((operator.folder / "agent.json").read_text())
    assert KEY not in json.dumps(config)
    config["env"]["CLAUDE_SCRIPT"] = AGENT
    (operator.folder / "agent.json").write_text(json.dumps(config))
    checkup = json.loads(await operator.do("8."))
    assert checkup["status"] == "pass", checkup
    reply = json.loads(await operator.do("9."))
    assert (reply["status"], reply["response"]) == ("succeeded", f"{KEY} 1000")
    (proof,) = (
        Path(VOLUME).with_name(f"{operator.namespace}-sessions").glob("agents/*/*/session/claude/proof")
    )
    assert proof.read_text() == "kept\n"  # once: the probe of step 8 uses no claim

    assert await kubectl(ADMIN, "--namespace", operator.namespace, "get", "jobs", "-o", "name") == ""
    await operator.do("Remove everything")


@pytest.mark.parametrize("options", [[], ["--server", "local/agent:1", "--metrics", "monitoring:9464"]])
async def test_server_accepts_printed_manifests_without_a_warning(
    operator: Operator, options: list[str]
) -> None:
    namespace = ["--namespace", operator.namespace, "--telemetry", "monitoring"]
    code, printed, _ = await claude_k8s("manifests", *namespace, *options)
    assert code == 0
    await operator.set_up(["2.", "4."])  # a dry run needs the namespace
    apply = ["apply", "--dry-run=server", "--validate=true", "-f", "-"]
    process = await asyncio.create_subprocess_exec(
        program("kubectl"), "--kubeconfig", ADMIN, *apply, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate(printed.encode())
    assert (process.returncode, err.decode()) == (0, "")
    assert len(out.splitlines()) == printed.count("\nkind: ")


@pytest.mark.slow
async def test_agents_inherit_from_the_pod_of_a_server_in_the_cluster(operator: Operator) -> None:
    """The server's container has no server in it, but Jobs inherit from its Pod as soon as it exists."""
    await operator.set_up(["2.", "4.", "5.", "6.", "Paperclip in the cluster"])
    selected = ["--namespace", operator.namespace, "get", "pods", "-l", "app=paperclip", "-o", "name"]
    async with asyncio.timeout(120):
        while not (pods := await kubectl(ADMIN, *selected)):  # noqa: ASYNC110  # polls a cluster
            await asyncio.sleep(0.5)
    name = pods.strip().removeprefix("pod/")
    config = operator.folder / "config.json"
    config.write_text(json.dumps({**SMALL_REQUESTS, "env": {"CLAUDE_SCRIPT": AGENT}}))
    kubeconfig = ["--kubeconfig", str(operator.folder / "agents.kubeconfig")]
    prompt = ["--config", str(config), "--prompt", "Go.", "--print-response"]
    code, out, err = await claude_k8s("run", *kubeconfig, *prompt, env={"POD_NAME": name})
    assert code == 0, err
    assert json.loads(out)["response"] == f"{KEY} 1000"
    proof = Path(VOLUME).with_name(f"{operator.namespace}-home") / "proof"
    assert proof.read_text() == "kept\n"
