"""Two runs of one agent with `concurrencyScope: task`: neither touches the Job of the other.

Each request to the cluster in memory takes 0.001 s of virtual time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Host, jobs, lease_holders, started
from tests.support.in_memory_runs import LONG, assert_whole, two_hosts
from tests.support.run_calls import OTHER_TASK, TASK_SCOPE

from paperclip_claude_k8s.devcluster.kinds import LEASES
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster

pytestmark = pytest.mark.looptime
OTHER_RUN: dict[str, Any] = {"runId": "run-2", "config": TASK_SCOPE, "context": OTHER_TASK}
"""A run of another task of the same agent."""
DELETED = "Deleted"
"""Word of the status lines about deleted Jobs."""


def refuse_secrets(fake: FakeCluster) -> None:
    """Refuse to create Secrets, so that a launch goes on without its run Secret until `fake` is repaired."""
    fake.faults.refuse("create", "secrets", 503, times=10_000)


def run_ids(fake: FakeCluster) -> list[str]:
    """The runs of all Jobs."""
    return sorted(job["metadata"]["labels"]["paperclip.io/run-id"] for job in jobs(fake))


@asynccontextmanager
async def job_without_secret_of_a_dead_host(folder: Path) -> AsyncIterator[tuple[FakeCluster, Host]]:
    """A cluster with the Job of run-1, whose host died before it created the run Secret, and another host."""
    async with two_hosts(folder, LONG) as (fake, one, two):
        refuse_secrets(fake)
        async with started(one, 5, config=TASK_SCOPE):
            one.disconnect()
            fake.faults.request_hooks.clear()
            yield fake, two


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("leases", ["leases", "no leases"])
async def test_job_that_another_task_is_launching_is_kept(
    tmp_path: Path,
    same_process: bool,  # noqa: FBT001
    leases: str,
) -> None:
    """The upload of a large folder, or of large skills, takes as long before the run Secret is created."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        if leases == "no leases":
            fake.faults.denied.add(("create", "leases"))
        refuse_secrets(fake)
        async with started(one, 5, config=TASK_SCOPE) as first:
            assert run_ids(fake) == ["run-1"]
            fake.faults.request_hooks.clear()
            async with started(one if same_process else two, 0.02, **OTHER_RUN) as second:
                assert run_ids(fake) == ["run-1", "run-2"]
                result, host_log = await second
            assert_whole(result, host_log)
            assert DELETED not in host_log.status
            assert_whole(*await first)
        assert fake.calls.count("create", "jobs") == 2


async def test_job_that_a_run_of_the_whole_agent_is_launching_is_kept(tmp_path: Path) -> None:
    """The two runs have different slots, and the Job is in both."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        refuse_secrets(fake)
        async with started(one, 5) as first:
            fake.faults.request_hooks.clear()
            result, host_log = await two.run(runId="run-2", config=TASK_SCOPE)
            assert result.error_code == "k8s_concurrent_run_blocked"
            assert DELETED not in host_log.status
            assert_whole(*await first)


async def test_job_that_a_run_of_a_task_is_launching_blocks_a_run_of_the_whole_agent(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        refuse_secrets(fake)
        async with started(one, 5, config=TASK_SCOPE) as first:
            fake.faults.request_hooks.clear()
            result, host_log = await two.run(runId="run-2")
            assert result.error_code == "k8s_concurrent_run_blocked"
            assert DELETED not in host_log.status
            assert_whole(*await first)


async def test_queued_job_of_another_task_with_the_same_folder_is_kept(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "README").write_text("hello\n")
    folder = {"paperclipWorkspace": {"cwd": str(project)}}
    upload = {**TASK_SCOPE, "workspace": "upload"}
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        context = {"taskId": "task-1", "paperclipTaskMarkdown": "Do it.", **folder}
        async with started(one, 5, config={**upload, "queueName": "agents"}, context=context) as first:
            other = {**OTHER_TASK, **folder}
            async with started(two, 5, runId="run-2", config=upload, context=other) as second:
                assert run_ids(fake) == ["run-1", "run-2"]
                assert not first.done()
                assert not second.done()


async def test_job_without_secret_of_a_dead_host_is_deleted_by_the_next_run_of_its_task(
    tmp_path: Path,
) -> None:
    async with job_without_secret_of_a_dead_host(tmp_path) as (fake, two):
        result, host_log = await two.run(runId="run-3", config=TASK_SCOPE)
        assert_whole(result, host_log)
        assert "so it never started" in host_log.status
        assert jobs(fake) == []


async def test_job_without_secret_of_a_dead_host_is_deleted_by_another_task_when_its_lease_is_gone(
    tmp_path: Path,
) -> None:
    async with job_without_secret_of_a_dead_host(tmp_path) as (fake, two):
        result, host_log = await two.run(**OTHER_RUN)
        assert_whole(result, host_log)
        assert DELETED not in host_log.status
        assert run_ids(fake) == ["run-1"]
        for lease in list(fake.store.list(LEASES)):  # as `stale_leases` does after an hour
            fake.store.remove(LEASES, NAMESPACE, lease["metadata"]["name"])
        result, host_log = await two.run(**{**OTHER_RUN, "runId": "run-3"})
        assert_whole(result, host_log)
        assert "so it never started" in host_log.status
        assert jobs(fake) == []


async def test_stale_lease_of_a_dead_host_leads_to_the_deletion_of_its_job(tmp_path: Path) -> None:
    async with job_without_secret_of_a_dead_host(tmp_path) as (fake, two):
        await asyncio.sleep(4000)  # a Lease is stale after an hour
        result, host_log = await two.run(**OTHER_RUN)
        assert_whole(result, host_log)
        result, _ = await two.run(**{**OTHER_RUN, "runId": "run-3"})
        assert result.error_code is None
        assert jobs(fake) == []
        assert lease_holders(fake, "slot") == []


async def test_job_of_a_failed_launch_does_not_block_its_process(tmp_path: Path) -> None:
    """A Job whose launch failed has no holder any more, so the next run of its process is not blocked."""
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        fake.faults.refuse("create", "secrets", 422, times=1)
        fake.faults.refuse("delete", "jobs", 403, times=1)
        result, _ = await one.run(config=TASK_SCOPE)
        assert result.error_code == "k8s_prompt_secret_create_failed"
        assert run_ids(fake) == ["run-1"]
        result, host_log = await one.run(runId="run-3", config=TASK_SCOPE)
        assert_whole(result, host_log)
        assert "so it never started" in host_log.status
        assert jobs(fake) == []


async def test_without_leases_another_task_deletes_the_job_of_a_dead_host(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.denied |= {(verb, "leases") for verb in ("create", "get", "list", "update", "delete")}
        refuse_secrets(fake)
        async with started(one, 5, config=TASK_SCOPE):
            one.disconnect()
            fake.faults.request_hooks.clear()
            await asyncio.sleep(190)  # a holder counts as dead after three minutes
            result, host_log = await two.run(**OTHER_RUN)
        assert_whole(result, host_log)
        assert "so it never started" in host_log.status
        assert jobs(fake) == []
