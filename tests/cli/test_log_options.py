"""The options `-v`, `-vv` and `--log-format`, which are given before the command; and `metrics`."""

import json
import re

import pytest
from tests.support.cli_commands import claude_k8s
from tests.support.dev_cluster_cli import DevClusterCli

from paperclip_claude_k8s.cli.entry import command_name


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["run", "-p", "x"], "run"),
        (["-v", "run"], "run"),
        (["-vv", "--log-format", "json", "query", "-q"], "query"),
        (["--log-format=json", "history"], "history"),
        (["--version"], ""),
        ([], ""),
    ],
)
def test_command_name_is_the_first_argument_after_options(argv: list[str], expected: str) -> None:
    assert command_name(argv) == expected


async def test_verbose_run_logs_json_lines_and_replies_as_usual(dev: DevClusterCli) -> None:
    code, reply, stderr = await dev.cli.run("-v", "--log-format", "json", *dev.new_run_args("-q"))
    assert (code, reply["status"]) == (0, "succeeded")
    records = [json.loads(line) for line in stderr.splitlines() if line.startswith('{"time"')]
    assert [record["event"] for record in records] == ["RunLaunched", "AgentStarted", "RunEnded"]
    assert {record["run_id"] for record in records} == {reply["run_id"]}
    assert records[-1]["cost_usd"] == reply["result"]["costUsd"]


async def test_run_without_verbose_logs_nothing(dev: DevClusterCli) -> None:
    _, _, stderr = await dev.cli.run(*dev.new_run_args("-q"))
    assert "paperclip_claude_k8s." not in stderr


async def test_invalid_option_of_run_after_global_options_exits_with_1(dev: DevClusterCli) -> None:
    code, reply, _ = await dev.cli.run("-v", "run", "--no-such-option")
    assert (code, reply["error"]) == (1, "usage")


async def test_metrics_of_one_run_equal_its_result(dev: DevClusterCli) -> None:
    _, reply, _ = await dev.cli.run(*dev.new_run_args("-q"))
    _, text, _ = await claude_k8s("metrics", "--once", env={"CLAUDE_K8S_STATE_DIR": str(dev.cli.state)})
    assert re.search(r'(?m)^claude_k8s_runs_total\{.*outcome="succeeded"\} 1\.0$', text)
    cost = next(line for line in text.splitlines() if line.startswith("claude_k8s_cost_usd_total{"))
    assert float(cost.rpartition(" ")[2]) == pytest.approx(reply["result"]["costUsd"])
