"""Prompts (large, and by init container), other secret files and MCP servers reach the agent unchanged."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_pod import RECEIVED_PATH, Home, home_on_dev, home_on_real

ODD_TEXT = "é $(HOME) $$ `x` \"q\" 'p' \\n %s\n"
"""Text that a shell, Kubernetes or a template could change."""
DIGEST = f"sha256sum <{RECEIVED_PATH} | cut -c1-64"
"""Script of an agent that prints the hash of the prompt that it received."""


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    async with home_on_real() if request.param == "real" else home_on_dev(tmp_path) as home_site:
        yield home_site


async def assert_received(home: Home, text: str, **config: Any) -> None:
    """Check that the agent received exactly the prompt that `onMeta` reported."""
    context = {"taskId": "task-1", "paperclipTaskMarkdown": text}
    result, host_log = await home.site.run({"CLAUDE_SCRIPT": DIGEST}, context=context, config=config)
    prompt = host_log.meta[-1]["prompt"]
    assert text.strip() in prompt
    assert host_log.stdout.strip() == hashlib.sha256(prompt.encode()).hexdigest(), host_log.status
    assert result.result_json is not None
    assert result.result_json["log"]["complete"] is True
    assert list((home.volume / "run-files").glob("*")) == []
    assert await home.site.leftovers() == []


async def test_prompt_of_two_megabytes_arrives_whole(home: Home) -> None:
    await assert_received(home, ODD_TEXT * (2_000_000 // len(ODD_TEXT.encode()) + 1))


async def test_prompt_just_below_the_limit_arrives_by_secret(home: Home) -> None:
    await assert_received(home, "x" * 880 * 1024)


async def test_prompt_that_needs_several_variables_arrives_whole_by_init_container(home: Home) -> None:
    await assert_received(home, ODD_TEXT * 15_000, promptDelivery="init")


async def test_prompt_of_two_megabytes_arrives_whole_by_init_container(home: Home) -> None:
    await assert_received(home, ODD_TEXT * (2_000_000 // len(ODD_TEXT.encode()) + 1), promptDelivery="init")


async def test_secret_files_by_init_container_are_readable_only_by_the_agent(home: Home) -> None:
    script = "cd /var/run/paperclip/run 2>/dev/null || cd ${PAPERCLIP_WAKE_PAYLOAD_FILE%/*}; stat -c %a-%n *"
    wake = {"reason": "r", "comments": [{"id": "1", "body": "b" * 200_000}]}
    config = {"promptDelivery": "init", "mcpServers": {"m": {"command": "x", "env": {"A_KEY": "y"}}}}
    _, host_log = await home.site.run(
        {"CLAUDE_SCRIPT": script}, context={"taskId": "t", "paperclipWake": wake}, config=config
    )
    less_secret = ("600-prompt.txt", "600-relay.sh", "600-start.sh", "600-wake-payload.json")
    assert host_log.stdout.split() == ["400-mcp.json", *less_secret]


async def test_mcp_servers_of_volume_host_and_config_arrive_as_one_file(home: Home) -> None:
    """The script prints the file that `--mcp-config` names, and the argument after it."""
    script = 'while [ $# -gt 0 ]; do [ "$1" != --mcp-config ] || { cat "$2"; echo; echo "$3"; }; shift; done'
    baseline = home.volume / ".mcp.json"
    baseline.write_text(json.dumps({"mcpServers": {"base": {"command": "b"}, "both": {"command": "b"}}}))
    try:
        _, host_log = await home.site.run(
            {"CLAUDE_SCRIPT": script},
            config={"mcpServers": {"both": {"url": "https://mine.example", "headers": {"X-Key": "k3y"}}}},
            runtimeMcp={"servers": [{"name": "host", "url": "https://host.example/mcp", "token": "t0ken"}]},
        )
    finally:
        baseline.unlink()
    mcp_file, _, flag = host_log.stdout.rstrip().rpartition("\n")
    assert flag == "--strict-mcp-config"
    assert json.loads(mcp_file)["mcpServers"] == {
        "base": {"command": "b"},
        "both": {"url": "https://mine.example", "headers": {"X-Key": "k3y"}},
        "host": {
            "type": "http",
            "url": "https://host.example/mcp",
            "headers": {"Authorization": "Bearer t0ken"},
        },
    }
    assert "MCP servers (3): base, both, host" in host_log.status
    assert "t0ken" not in host_log.status + str(host_log.meta)
