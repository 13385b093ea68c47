"""State folders, run records and output folders are private, keep no secret, and lead no write elsewhere."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_commands import CommandRunner, claude_k8s
from tests.support.dev_cluster_cli import DevClusterCli

from paperclip_claude_k8s.cli.runs.disk import Disk
from paperclip_claude_k8s.cli.runs.output import Output
from paperclip_claude_k8s.cli.runs.record import redact_request
from paperclip_claude_k8s.cli.runs.replies import Stop
from paperclip_claude_k8s.cli.runs.state import RunFiles
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.redact import MASK

CONFIG: dict[str, Any] = {
    "namespace": "agents",
    "image": "i",
    "env": {"FOO": "c4n4ry", "DB_PASS": "c4n4ry", "CLAUDE_CODE_USE_BEDROCK": "1"},
    "extraArgs": ["--api-key", "c4n4ry", "--pass=c4n4ry", "--max-turns", "3", "--header", "X-Any: c4n4ry"],
    "mcpServers": {
        "a": {"command": "x", "args": ["--token", "c4n4ry", "--plain"], "env": {"ANY": "c4n4ry"}},
        "b": {"type": "http", "url": "https://u:c4n4ry@x.example/y", "headers": {"X-Other": "c4n4ry"}},
    },
    "podTemplate": {
        "spec": {
            "containers": [
                {
                    "name": "side",
                    "env": [{"name": "ANY", "value": "c4n4ry"}, {"name": "B", "valueFrom": {"fieldRef": {}}}],
                    "args": ["--auth", "c4n4ry"],
                }
            ]
        }
    },
}


def test_redacted_request_still_names_the_cluster() -> None:
    """Later commands need these names to find the run, even if one looks like a credential."""
    named = {
        "kubeconfig": "/home/a/.kube/sk-production",
        "kubeContext": "oidc://me@host",
        "namespace": "sk-agents-1",
    }
    assert redact_request({"config": named})["config"] == named


def test_redacted_request_keeps_names_and_no_values_of_secrets() -> None:
    request = {"agent": {"id": "a"}, "config": CONFIG, "context": {"prompt": "Go."}, "authToken": "c4n4ry"}
    redacted = redact_request(request)
    assert "c4n4ry" not in json.dumps(redacted)
    config = redacted["config"]
    assert list(config["env"]) == ["FOO", "DB_PASS", "CLAUDE_CODE_USE_BEDROCK"]
    assert config["env"]["CLAUDE_CODE_USE_BEDROCK"] == "1"
    assert config["extraArgs"][3:5] == ["--max-turns", "3"]
    assert config["mcpServers"]["b"]["url"].endswith("@x.example/y")
    assert config["podTemplate"]["spec"]["containers"][0]["env"][0]["name"] == "ANY"
    assert (config["namespace"], config["image"]) == ("agents", "i")
    assert redacted["context"] == {"prompt": "Go."}


def test_extra_arguments_in_one_text_are_redacted() -> None:
    config = redact_request({"config": {"extraArgs": "--api-key c4n4ry --max-turns 3"}})["config"]
    assert "c4n4ry" not in config["extraArgs"]
    assert config["extraArgs"].endswith("--max-turns 3")


@pytest.fixture
async def dev(tmp_path: Path) -> Any:  # an async generator
    async with DevCluster.start() as cluster:
        yield DevClusterCli(cluster, CommandRunner(tmp_path))


async def test_run_is_found_by_its_record_which_has_no_secrets(dev: DevClusterCli) -> None:
    args = dev.new_run_args("--submit-only", CLAUDE_SLEEP="0.2", DB_PASS="c4n4ry", FOO="c4n4ry")
    path = dev.cli.folder / "config.json"
    config = json.loads(path.read_text())
    more = {key: CONFIG[key] for key in ("extraArgs", "mcpServers")}
    path.write_text(json.dumps({**config, **more}))
    _, out, _ = await claude_k8s(*args, env=dev.cli.environment())
    leaks = [file for file in dev.cli.state.rglob("*") if file.is_file() and b"c4n4ry" in file.read_bytes()]
    assert leaks == []
    code, reply, err = await dev.cli.run("run", "--run-id", out.strip())
    assert (code, reply["status"]) == (0, "succeeded")
    assert "c4n4ry" not in err + json.dumps(reply) + json.dumps(dev.cli.record())


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def modes_below(folder: Path) -> dict[str, int]:
    """Path → permission bits of everything that others could read or write."""
    found = {str(path): stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}
    return {path: mode for path, mode in found.items() if mode & 0o077}


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
async def test_files_of_a_run_are_private_whatever_the_umask(
    tmp_path: Path, mask: int, umask: Callable[[int], int]
) -> None:
    umask(mask)
    runner = CommandRunner(tmp_path / "new" / "deep")
    (tmp_path / "new").mkdir(mode=0o700)
    out = tmp_path / "new" / "out" / "run"
    await runner.run("run", "--devcluster", "-p", "Go.", "--output", str(out), "--quiet")
    assert modes_below(tmp_path / "new") == {}
    assert (out / "result.json").exists()


async def test_files_of_a_running_devcluster_are_behind_a_private_folder(
    tmp_path: Path, umask: Callable[[int], int]
) -> None:
    umask(0)
    runner = CommandRunner(tmp_path / "x")
    try:
        assert (await runner.run("devcluster", "up"))[0] == 0
        folder = runner.state / "devcluster"
        modes = {
            name: stat.S_IMODE((folder / name).stat().st_mode)
            for name in ("log", "lock", "pid", "kubeconfig")
        }
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(runner.state.stat().st_mode) == 0o700
    finally:
        await runner.run("devcluster", "down")


def test_devcluster_runs_no_program_of_the_working_directory(tmp_path: Path) -> None:
    """A person may start `devcluster` in a folder that an agent or somebody else has written."""
    package, runner = tmp_path / "work" / "paperclip_claude_k8s", CommandRunner(tmp_path)
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')")
    command = [
        sys.executable,
        "-P",
        "-m",
        "paperclip_claude_k8s",
        "devcluster",
    ]  # -P: as `claude-k8s` is started
    env = {**os.environ, **runner.environment()}
    try:
        up = subprocess.run([*command, "up"], cwd=package.parent, env=env, check=False, capture_output=True)
        assert (up.returncode, (tmp_path / "proof").exists()) == (0, False)
    finally:
        subprocess.run([*command, "down"], cwd=package.parent, env=env, check=False, capture_output=True)


def test_file_of_an_older_version_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old")
    (tmp_path / "log").chmod(0o644)
    os.close(Disk().open(tmp_path / "log"))
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    files = RunFiles(tmp_path / "run")
    files.folder.mkdir()
    files.transcript.write_bytes(b"one\ntwo\n")
    files.log.write_bytes(b"a line\n")
    return files


def prepare_link(out: Path, victim: Path, name: str) -> None:
    (out / name).symlink_to(victim)


def prepare_pipe(out: Path, _victim: Path, name: str) -> None:
    os.mkfifo(out / name)


def prepare_folder(out: Path, _victim: Path, name: str) -> None:
    (out / name).mkdir()


def prepare_device(out: Path, _victim: Path, name: str) -> None:
    (out / name).symlink_to("/dev/null")


@pytest.mark.parametrize("prepare", [prepare_link, prepare_pipe, prepare_folder, prepare_device])
@pytest.mark.parametrize("name", ["transcript.ndjson", "log"])
def test_output_that_would_replace_something_else_is_refused(
    files: RunFiles, tmp_path: Path, prepare: Callable[[Path, Path, str], None], name: str
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_bytes(b"mine")
    prepare(out, victim, name)
    with pytest.raises(Stop, match=rf"--output .*out cannot be written: .*{name}|Is a directory"):
        Output(out, files)
    assert victim.read_bytes() == b"mine"


def test_link_in_place_of_the_result_is_replaced_and_not_followed(files: RunFiles, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_bytes(b"mine")
    (out / "result.json").symlink_to(victim)
    Output(out, files).finish({"status": "succeeded"})
    assert victim.read_bytes() == b"mine"
    assert json.loads((out / "result.json").read_bytes())["status"] == "succeeded"


def test_link_that_appears_during_the_run_is_not_followed(files: RunFiles, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_bytes(b"mine")
    output = Output(out, files)
    (out / "log").unlink()
    (out / "log").symlink_to(victim)
    output.update()
    assert output.error is not None
    assert "log is a link" in output.error.detail
    assert victim.read_bytes() == b"mine"


def test_folder_that_is_exchanged_during_the_run_is_not_written_to(files: RunFiles, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    output = Output(out, files)
    other.mkdir()
    out.rename(tmp_path / "moved")
    out.symlink_to(other)
    output.finish({"status": "succeeded"})
    assert list(other.iterdir()) == []
    assert (tmp_path / "moved" / "result.json").exists()


def test_output_folder_that_all_may_write_to_is_refused(files: RunFiles, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o1777)
    with pytest.raises(Stop, match="other users can write to it"):
        Output(out, files)
    out.chmod(0o775)
    Output(out, files).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("theirs", ["folder", "link", "file"])
def test_output_of_another_user_is_refused(files: RunFiles, tmp_path: Path, theirs: str) -> None:
    out, nobody = tmp_path / "out", 65534
    (tmp_path / "own").mkdir()
    if theirs == "link":
        out.symlink_to(tmp_path / "own")
    else:
        out.mkdir()
    (out / "log").write_bytes(b"theirs")
    os.chown(out / "log" if theirs == "file" else out, nobody, nobody, follow_symlinks=False)
    with pytest.raises(Stop, match="belongs to another user"):
        Output(out, files)
    assert (out / "log").read_bytes() == b"theirs"


async def test_run_with_a_link_in_its_output_folder_is_refused_at_once(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_bytes(b"mine")
    (out / "transcript.ndjson").symlink_to(victim)
    args = ("run", "--devcluster", "-p", "Go.", "--output", str(out))
    _, reply, _ = await CommandRunner(tmp_path).run(*args)
    assert reply["error"] == "output_unwritable"
    assert "transcript.ndjson is a link" in reply["detail"]
    assert await asyncio.to_thread(victim.read_bytes) == b"mine"


@pytest.mark.parametrize("key", ["env", "envVars"])
@pytest.mark.parametrize("text", ["DB_PASS=c4n4ry\nFLAG=1", '{"DB_PASS": "c4n4ry", "FLAG": "1"}'])
def test_record_hides_variables_that_are_given_as_text(key: str, text: str) -> None:
    config = redact_request({"config": {key: text}})["config"]
    assert AdapterConfig.read(config).env == {"DB_PASS": MASK, "FLAG": "1"}


@pytest.mark.parametrize("key", ["mcpServers", "mcp_servers", "podTemplate", "pod_template"])
def test_record_hides_variables_in_the_json_text_of_a_setting(key: str) -> None:
    servers = {"a": {"command": "x", "env": {"ANY": "c4n4ry"}}}
    template = {"spec": {"containers": [{"name": "side", "env": [{"name": "ANY", "value": "c4n4ry"}]}]}}
    text = json.dumps(servers if key.startswith("mcp") else template)
    config = redact_request({"config": {key: text}})["config"]
    assert "c4n4ry" not in str(config)
    read = AdapterConfig.read(config)
    assert "ANY" in f"{read.mcp_servers} {read.pod_template}"


@pytest.mark.parametrize("key", ["env", "envVars"])
def test_record_hides_variables_of_unreadable_text(key: str) -> None:
    assert "c4n4ry" not in str(redact_request({"config": {key: "PASS WORD c4n4ry"}}))


def test_record_keeps_references_to_secrets_and_hides_malformed_ones() -> None:
    reference = {"valueFrom": {"secretKeyRef": {"name": "claude-api-key", "key": "ANTHROPIC_API_KEY"}}}
    env = {
        "A": reference,
        "B": {"valueFrom": "c4n4ry"},
        "C": {"secretKeyRef": {"name": "c4n4ry s", "key": "k"}},
    }
    redacted = redact_request({"config": {"env": env}})["config"]["env"]
    assert redacted["A"] == reference
    assert "c4n4ry" not in str(redacted)
