"""Runs whose packed folders would take up too much of the cluster at a time wait for each other."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import GOOD, LONG, Run, count_jobs, one_host
from tests.support.packed_changes import write_tree
from tests.support.policies import TEMPORARY_FOLDERS

from paperclip_claude_k8s.base.settings import UPLOAD_LIMITS, Limits
from paperclip_claude_k8s.cluster.labels import UPLOAD_SIZE_ANNOTATION
from paperclip_claude_k8s.devcluster.kinds import JOBS, SECRETS
from paperclip_claude_k8s.ports import ProcessSettings
from paperclip_claude_k8s.testing import FakeCluster, HostLog, PodScript

pytestmark = pytest.mark.looptime
ROOM = replace(Limits(), uploaded_bytes=UPLOAD_LIMITS.packed_bytes)
"""Room for one folder of the largest size. A run waits for that much room, so only one uploads at a time."""
SETTINGS = ProcessSettings(policy=TEMPORARY_FOLDERS, limits=ROOM)
WAITING = "Waiting for room to upload the agent's workspace or skills"


@asynccontextmanager
async def uploading_host(
    folder: Path, pod_script: PodScript
) -> AsyncIterator[tuple[FakeCluster, Run, Callable[[str], dict[str, Any]]]]:
    """A host with little room, and a function that makes the context of a run of the named agent."""
    write_tree(folder / "project", {"README": "hello\n"})

    def context_of(agent: str) -> dict[str, Any]:
        context = {"taskId": agent, "paperclipWorkspace": {"cwd": str(folder / "project")}}
        ids = {"runId": f"run-{agent}", "agent": {"id": agent, "companyId": "co"}}
        return {**ids, "context": context, "config": {"workspace": "upload"}}

    async with one_host(folder, pod_script, SETTINGS) as (fake, run):
        yield fake, run, context_of


async def test_run_waits_until_an_earlier_upload_has_ended(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, LONG) as (fake, run, context_of), asyncio.TaskGroup() as group:
        first = group.create_task(run(**context_of("ada")))
        await asyncio.sleep(10)
        log = HostLog()
        second = group.create_task(run(log, **context_of("bob")))
        await asyncio.sleep(200)
        assert count_jobs(fake) == 1
        assert f"{WAITING}: up to 96 MiB are needed, and other runs of this process have 0" in log.status
        assert "packed" not in log.status
        assert not first.done()
        await first
        began = asyncio.get_running_loop().time()
        result, _ = await second
        assert result.error_message is None
        assert 299 < asyncio.get_running_loop().time() - began < 320  # `LONG` takes 300 s
        assert "packed 1 files" in log.status


async def test_host_sees_that_the_run_waits(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, LONG) as (_, run, context_of), asyncio.TaskGroup() as group:
        group.create_task(run(**context_of("ada")))
        await asyncio.sleep(10)
        messages: list[Any] = []

        async def on_progress(progress: Any) -> None:
            messages.append(progress)

        context = {**context_of("bob"), "onRuntimeProgress": on_progress, "onSpawn": None}
        group.create_task(run(**context))
        await asyncio.sleep(150)
        expected = "waits until the cluster has room for its workspace or skills"
        assert [progress["message"] for progress in messages] == [expected] * 3  # after 1 s, 61 s and 121 s


async def test_stopped_wait_creates_no_job_and_takes_no_room(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, LONG) as (fake, run, context_of), asyncio.TaskGroup() as group:
        group.create_task(run(**context_of("ada")))
        await asyncio.sleep(10)
        stop = asyncio.Event()
        waiting = group.create_task(run(**context_of("bob"), signal=stop))
        third = group.create_task(run(**context_of("eve")))
        await asyncio.sleep(10)
        stop.set()
        result, _ = await waiting
        assert result.error_code == "cancelled"
        assert count_jobs(fake) == 1
        result, _ = await third
        assert result.error_message is None


async def test_run_without_an_upload_does_not_wait(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, LONG) as (fake, run, context_of), asyncio.TaskGroup() as group:
        group.create_task(run(**context_of("ada")))
        await asyncio.sleep(10)
        group.create_task(run(**{**context_of("bob"), "config": {}}))
        await asyncio.sleep(10)
        assert count_jobs(fake) == 2


async def test_failed_launch_takes_no_room(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, GOOD) as (fake, run, context_of):
        fake.faults.denied.add(("create", "secrets"))
        result, _ = await run(**context_of("ada"))
        assert result.error_code == "k8s_prompt_secret_create_failed"
        fake.faults.denied.clear()
        result, log = await run(**context_of("bob"))
        assert result.error_message is None
        assert WAITING not in log.status


async def test_large_skills_take_room_until_the_run_has_ended(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, LONG) as (fake, run, context_of), asyncio.TaskGroup() as group:
        group.create_task(run(**{**context_of("ada"), "config": large_skills(tmp_path)}))
        await asyncio.sleep(10)
        (job,) = fake.store.list(JOBS)
        assert int(job["metadata"]["annotations"][UPLOAD_SIZE_ANNOTATION]) > 1_000_000
        assert len(list(fake.store.list(SECRETS))) == 3
        log = HostLog()
        group.create_task(run(log, **context_of("bob")))
        await asyncio.sleep(10)
        assert "other runs of this process have 1 of at most 96 MiB" in log.status


async def test_run_that_may_not_create_secrets_goes_on_without_large_skills(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, GOOD) as (fake, run, context_of):
        fake.faults.denied.add(("create", "secrets"))
        result, log = await run(**{**context_of("ada"), "config": large_skills(tmp_path)})
        assert result.error_message is None
        assert "Skills are not delivered: an init container delivers the prompt" in log.status


def large_skills(folder: Path) -> dict[str, Any]:
    """Settings of an agent with a skill of one megabyte, which does not get smaller when it is packed."""
    source = folder / "helper"
    source.mkdir()
    (source / "data").write_bytes(os.urandom(1_048_576))
    skill = {"key": "co/helper", "runtimeName": "helper", "source": str(source)}
    return {
        "paperclipRuntimeSkills": [skill],
        "paperclipSkillSync": {"desiredSkills": ["co/helper"]},
    }


async def test_adopted_upload_takes_room(tmp_path: Path) -> None:
    async with uploading_host(tmp_path, LONG) as (fake, run, context_of):
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run(**context_of("ada")))
            await asyncio.sleep(10)
            first.cancel()
        (job,) = fake.store.list(JOBS)
        assert 0 < int(job["metadata"]["annotations"][UPLOAD_SIZE_ANNOTATION]) < 2000
        async with asyncio.TaskGroup() as group:
            adopting = group.create_task(run(**context_of("ada")))
            await asyncio.sleep(10)
            log = HostLog()
            waiting = group.create_task(run(log, **context_of("bob")))
            await asyncio.sleep(10)
            assert WAITING in log.status
        assert "Reattaching" in adopting.result()[1].status
        assert waiting.result()[0].error_message is None
