"""`jobs`, `describe` and `attach` on terminals of 80x24 and 100x30: no line is wider than the terminal."""

import asyncio
import re
from functools import partial

import pytest
from rich.cells import cell_len
from tests.support.dev_cluster_cli import DevClusterCli
from tests.support.terminals import on_a_terminal

AGENT = "5b1b1c9e-0f0e-4a6a-9a3c-0f2b7d9c8e11"
"""An agent of a Paperclip server, whose ids are UUIDs."""
SIZES = [(80, 24), (100, 30)]
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
"""The footer begins with one of these characters. It is erased when the command ends."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

pytestmark = pytest.mark.parametrize(("width", "height"), SIZES)


async def terminal_lines(dev: DevClusterCli, width: int, height: int, *args: str) -> list[str]:
    """The lines that a command shows on a terminal. Asserts that no line is wider than the terminal."""
    env = dev.cli.environment({"KUBECONFIG": str(dev.cluster.kubeconfig)})
    written = await asyncio.to_thread(partial(on_a_terminal, *args, env=env, width=width, height=height))
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", _ESCAPES.sub("", written.decode()))]
    wide = [line for line in lines if cell_len(line) > width and not line.startswith("Record ")]
    assert wide == [], "only the path of a record, which has no blanks, may be wider"
    return lines


async def test_jobs_on_a_terminal_show_whole_run_ids(dev: DevClusterCli, width: int, height: int) -> None:
    run = await dev.submit("--agent", AGENT)
    lines = await terminal_lines(dev, width, height, "jobs", "-A")
    assert lines[0].split()[:5] == ["NAMESPACE", "RUN", "STATE", "AGE", "AGENT"]
    assert lines[1].split()[1] == run
    assert lines[1].split()[4].startswith(AGENT[:12])


async def test_describe_on_a_terminal_wraps_events_between_words(
    dev: DevClusterCli, width: int, height: int
) -> None:
    run = await dev.submit("--agent", AGENT)
    await dev.wait_for_job_end()
    lines = await terminal_lines(dev, width, height, "describe", run[:8])
    (job,) = await dev.job_names()
    assert ["Run", run] in [line.split() for line in lines]
    assert any(re.search(rf"Created pod: {job}-\w{{5}}$", line) for line in lines), "the name is not cut"
    assert lines[-2:] == [f"  claude-k8s run --run-id {run}  # its result", ""]


async def test_attach_on_a_terminal_ends_with_the_verdict(
    dev: DevClusterCli, width: int, height: int
) -> None:
    run = await dev.submit("--agent", AGENT, CLAUDE_LINE_DELAY="0.05")
    lines = [line for line in await terminal_lines(dev, width, height, "attach", run[:8]) if line]
    assert lines[0].startswith(f"Run {run}, which was started here")
    assert "│ ● Second part: alpha and beta." in lines
    assert any("lines" in line and "context" in line for line in lines), "the footer"
    assert [line for line in lines if line[0] not in SPINNER][-1] == f"Run {run} succeeded"
