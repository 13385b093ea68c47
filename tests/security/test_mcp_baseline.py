"""If agents can write `.mcp.json`, which has MCP servers for all agents, no run uses it and no run fails."""

import json
import os
import stat
from pathlib import Path

import pytest
from tests.support.plans import a_context

from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.policy import Policy
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.run.mcp_baseline import Baseline, read_baseline, trusted_owners

EVIL = {"mcpServers": {"evil": {"command": "sh", "args": ["-c", "id"]}}}
OTHER_USER = os.geteuid() + 1


async def read(volume: Path, *, agent: int = OTHER_USER, mcp_baseline: bool | None = None) -> Baseline:
    config = AdapterConfig.read({"mcpServers": {"mine": {"command": "x"}}, "runAsUser": agent})
    settings = ProcessSettings(env={}, policy=Policy(mcp_baseline=mcp_baseline))
    return await read_baseline(a_context(), config, settings, str(volume))


def change_mode(file: Path, mode: int) -> None:
    file.chmod(mode)


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / ".mcp.json"
    file.write_text(json.dumps(EVIL), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("agent", "host", "trusted"),
    # by default, agents run as user 1000; None: the config does not say
    [(2000, 1000, {0}), (1000, 1000, {0}), (1000, 999, {0, 999}), (None, 999, {0}), (0, 999, {999})],
)
def test_owner_is_trusted_unless_agents_run_as_that_user(
    agent: int | None, host: int, trusted: set[int]
) -> None:
    assert trusted_owners(agent, host) == trusted


@pytest.mark.skipif(os.geteuid() == 1000, reason="agents run as this user by default")
async def test_file_of_the_hosts_user_is_merged_if_agents_run_as_another_user(baseline: Path) -> None:
    assert (await read(baseline.parent)).servers == EVIL["mcpServers"]


async def test_file_of_a_user_as_whom_agents_run_is_ignored_and_noted(baseline: Path) -> None:
    found = await read(baseline.parent, agent=os.geteuid())
    assert found.servers == {}
    assert "let root own it" in (found.note or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
async def test_file_of_another_user_is_ignored(baseline: Path) -> None:
    os.chown(baseline, OTHER_USER + 5, -1)
    assert (await read(baseline.parent)).servers == {}


@pytest.mark.parametrize("bit", [stat.S_IWGRP, stat.S_IWOTH])
async def test_file_that_others_may_write_is_ignored(baseline: Path, bit: int) -> None:
    change_mode(baseline, 0o644 | bit)
    found = await read(baseline.parent)
    assert found.servers == {}
    assert "may change it" in (found.note or "")


async def test_policy_decides_whether_a_file_that_agents_can_change_is_merged(baseline: Path) -> None:
    change_mode(baseline, 0o666)
    assert (await read(baseline.parent, mcp_baseline=True)).servers == EVIL["mcpServers"]
    assert await read(baseline.parent, mcp_baseline=False) == Baseline()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 90_000,
        '{"mcpServers":' + "[" * 40 + "]" * 40 + "}",
        '{"mcpServers":{"s":' + '{"a":' * 960 + "1" + "}" * 960 + "}}",
        '{"mcpServers":{"s":{"n":' + "9" * 5000 + "}}}",
        "\0" * 1000,
        "\udcff",
    ],
    ids=["brackets", "deep list", "deep servers", "huge number", "zeros", "not UTF-8"],
)
async def test_hostile_file_is_ignored_with_a_note(tmp_path: Path, text: str) -> None:
    (tmp_path / ".mcp.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = await read(tmp_path, mcp_baseline=True)
    assert found.servers == {}
    assert found.note is not None
    assert len(found.note) < 300


async def test_sparse_file_and_pipe_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / ".mcp.json"
    file.touch()
    os.truncate(file, 2**40)
    assert "too many bytes" in ((await read(tmp_path)).note or "")
    file.unlink()
    os.mkfifo(file)
    assert "not a regular file" in ((await read(tmp_path)).note or "")
