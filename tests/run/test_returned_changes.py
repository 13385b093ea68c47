"""The changes of an uploaded workspace, on a cluster that reports and ends Pods in its own time."""

import asyncio
from pathlib import Path

import pytest
from tests.support.in_memory_runs import PARTIAL, one_host
from tests.support.packed_changes import file_line, packed, printed
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_cluster import wait_for_output

from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import HostLog, PodScript

CHANGES = printed(packed([file_line("README", "agent\n", base="hello\n")], "agent\n"))


@pytest.mark.parametrize("shown_after", [0.0, 30.0])
async def test_stopped_agents_changes_are_read_although_its_pod_is_shown_late(
    shown_after: float, tmp_path: Path
) -> None:
    """A busy kubelet reports that the containers run some seconds after they have begun."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    script = PodScript(output=((0.0, PARTIAL),), ends_at=60.0, shown_after=shown_after, changes=CHANGES)
    settings = ProcessSettings(policy=TEMPORARY_FOLDERS)
    stop, log = asyncio.Event(), HostLog()
    async with one_host(tmp_path, script, settings) as (_, run), asyncio.TaskGroup() as group:
        context = {"taskId": "task-1", "paperclipWorkspace": {"cwd": str(folder)}}
        config = {"workspace": "upload"}
        running = group.create_task(run(log, signal=stop, context=context, config=config))
        await wait_for_output(log, "system")
        stop.set()
    result, _ = running.result()
    assert result.error_code == "cancelled"
    assert (folder / "README").read_text() == "agent\n", log.status
