"""The changes of an uploaded folder are returned although a Pod's status is late, or the folder is locked."""

import asyncio
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.in_memory_runs import GOOD, PARTIAL, WHOLE, one_host
from tests.support.objects import a_job, finished
from tests.support.packed_changes import file_line, packed, printed
from tests.support.plans import a_plan
from tests.support.policies import TEMPORARY_FOLDERS
from tests.support.real_cluster import wait_for_output

from paperclip_claude_k8s import Adapter, ExecutionResult
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.labels import UPLOAD_ANNOTATION
from paperclip_claude_k8s.cluster.model import Condition, Listing, PodSnapshot
from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.plan.upload_parts import folder_mark
from paperclip_claude_k8s.ports import Ports, ProcessSettings
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.returned_changes import apply_earlier_changes
from paperclip_claude_k8s.testing import FakeCluster, HostConnection, HostLog, PodScript, build_context

CHANGES = printed(packed([file_line("README", "agent\n", base="hello\n")], "agent\n"))


def folder_with_readme(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    return folder


@pytest.mark.parametrize("shown_after", [0.0, 30.0])
async def test_changes_of_a_stopped_agent_are_read_although_its_start_is_shown_late(
    shown_after: float, tmp_path: Path
) -> None:
    """A busy kubelet reports that the containers run some seconds after they have begun."""
    folder = folder_with_readme(tmp_path / "project")
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


async def test_stop_is_answered_although_the_folder_is_locked(tmp_path: Path) -> None:
    """The host kills this process, and with it all runs, if a stop is not answered within a minute."""
    folder = folder_with_readme(tmp_path / "project")
    script = PodScript(output=((0.0, WHOLE),), ends_at=2.0, changes=CHANGES)
    settings = ProcessSettings(policy=TEMPORARY_FOLDERS)
    stop, log, loop = asyncio.Event(), HostLog(), asyncio.get_running_loop()
    folder_fd = os.open(folder, os.O_RDONLY)
    async with one_host(tmp_path, script, settings) as (fake, run), asyncio.TaskGroup() as group:
        context = {"taskId": "task-1", "paperclipWorkspace": {"cwd": str(folder)}}
        running = group.create_task(run(log, signal=stop, context=context, config={"workspace": "upload"}))
        await wait_for_output(log, "system")
        fcntl.flock(folder_fd, fcntl.LOCK_SH)
        await asyncio.sleep(4.0)
        assert not running.done()
        stop.set()
        stopped_at = loop.time()
        _, log = await running
        assert loop.time() - stopped_at < 10
        assert "only in the Pod: writing them to the host's folder takes too long" in log.status
        assert "the next run of this agent in this folder takes it, if the Pod still exists" in log.status
        os.close(folder_fd)
        assert len(list(fake.store.list(JOBS))) == 1
        await run(context=context, config={"workspace": "upload"}, runId="run-2")
        assert (folder / "README").read_text() == "agent\n"


async def test_job_with_returned_changes_is_deleted_although_a_run_in_another_folder_took_its_result(
    tmp_path: Path,
) -> None:
    """The run in the other folder cannot apply the changes, so it leaves the Job to a run in its folder."""
    folder, other = (folder_with_readme(tmp_path / name) for name in ("project", "other"))
    waits_for_a_host = PodScript(output=((0.0, WHOLE),), ends_at=2.0, changes=CHANGES, others_run=True)
    scripts = iter([waits_for_a_host, GOOD, GOOD])
    settings = ProcessSettings(policy=TEMPORARY_FOLDERS)
    async with FakeCluster.start(tmp_path, lambda _: next(scripts)) as fake:

        async def run(adapter: Adapter, task: str, cwd: Path) -> ExecutionResult:
            context = {"taskId": task, "paperclipWorkspace": {"cwd": str(cwd)}}
            given = {"runId": f"run-{task}", "context": context, "config": {"workspace": "upload"}}
            return await adapter.execute(build_context(HostLog(), **given))

        first = Adapter(settings, lambda _source, _settings: Gateway(http=HostConnection(fake)))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(first, "first", folder))
            await asyncio.sleep(1.0)
            running.cancel()
        await first.shutdown()
        await asyncio.sleep(5.0)  # its agent ends, and its Pod waits for a host that takes the changes
        second = Adapter(settings, lambda _source, _settings: Gateway(http=HostConnection(fake)))
        await run(second, "elsewhere", other)
        assert (folder / "README").read_text() == "hello\n"
        assert len(list(fake.store.list(JOBS))) == 1
        await run(second, "third", folder)
        assert (folder / "README").read_text() == "agent\n"
        assert list(fake.store.list(JOBS)) == []
        await second.shutdown()


class ClusterWithoutPods:
    async def list_pods(self, *_: Any) -> Listing[PodSnapshot]:
        return Listing((), "1")


@pytest.mark.parametrize("conditions", [(), finished()])
async def test_changes_of_a_job_without_pods_are_done_only_if_it_has_finished(
    conditions: tuple[Condition, ...],
) -> None:
    """A Job in a queue has no Pod yet."""
    plan = a_plan()
    plan = replace(plan, workspace=replace(plan.workspace, folder="/project"))
    annotations = {UPLOAD_ANNOTATION: folder_mark("/project")}
    job = a_job(annotations=annotations, conditions=conditions)
    ports = cast("Ports", SimpleNamespace(cluster=ClusterWithoutPods()))
    done = await apply_earlier_changes([job], plan, ports, cast("Narrator", None))
    assert done == ({job.ref.uid} if conditions else set())
