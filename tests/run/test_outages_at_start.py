"""The API server is unreachable or overloaded at the start of a run, or refuses requests.

During an outage the adapter retries its requests; after a time limit the run fails with a retryable error.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.home_cluster import home_cluster
from tests.support.in_memory_runs import GOOD, QUIET, WHOLE, count_jobs, one_host

from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.devcluster.kinds import PODS
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.testing import NAMESPACE, HostLog

pytestmark = pytest.mark.looptime
RETRY_BUDGET = Timings().retry_budget
NOT_STARTED = {"kind": "bootstrap", "providerWorkStarted": False}
OVERLOADED = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses of an overloaded server."""


def assert_retryable(result: ExecutionResult, code: str) -> None:
    assert (result.error_code, result.error_family) == (code, "transient_upstream")


async def test_outage_within_the_retry_budget_only_delays_the_run(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.go_down(RETRY_BUDGET / 2)
        result, host_log = await home.run()
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE


async def test_unreachable_server_at_home_pod_read_is_retryable(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.go_down(3600)
        began = asyncio.get_running_loop().time()
        result, _ = await home.run()
        waited = asyncio.get_running_loop().time() - began
        assert_retryable(result, "k8s_home_pod_unavailable")
        assert RETRY_BUDGET - Timings().retry_cap <= waited <= RETRY_BUDGET
        assert result.execution_recovery == NOT_STARTED
        message = result.error_message or ""
        assert "connection refused" in message
        assert message.endswith(
            "no Job was created; check the API server, and run the agent again when it responds"
        )


@pytest.mark.parametrize("status", OVERLOADED)
async def test_overloaded_server_at_home_pod_read_is_retryable(tmp_path: Path, status: int) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.refuse("get", "pods", status, times=10_000, message="too much to do")
        result, _ = await home.run()
        assert_retryable(result, "k8s_home_pod_unavailable")
        assert "too much to do" in (result.error_message or "")
        assert "set `image`" not in (result.error_message or "")


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (401, "Unauthorized", "renew the credentials of this process"),
        (403, 'User "x" cannot get resource "pods"', "`claude-k8s rbac` prints the Role"),
        (403, 'admission webhook "x" denied the request', "`kubeconfig` and `image`"),
    ],
)
async def test_refused_home_pod_read_fails_at_once_and_is_not_retryable(
    tmp_path: Path, status: int, message: str, hint: str
) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.faults.refuse("get", "pods", status, times=10_000, message=message)
        began = asyncio.get_running_loop().time()
        result, _ = await home.run()
        assert asyncio.get_running_loop().time() - began < 1
        assert (result.error_code, result.error_family) == ("k8s_home_pod_unavailable", None)
        assert hint in (result.error_message or "")


async def test_missing_home_pod_is_not_retryable(tmp_path: Path) -> None:
    async with home_cluster(tmp_path) as home:
        home.fake.store.remove(PODS, NAMESPACE, "home-0")
        result, _ = await home.run()
        assert (result.error_code, result.error_family) == ("k8s_home_pod_unavailable", None)
        assert "there is no such Pod" in (result.error_message or "")
        assert "POD_NAME" in (result.error_message or "")


@pytest.mark.parametrize(
    ("verb", "resource", "code"),
    [
        ("create", "leases", "k8s_concurrency_guard_unreachable"),
        ("list", "jobs", "k8s_concurrency_guard_unreachable"),
        ("create", "jobs", "k8s_job_create_failed"),
        ("create", "secrets", "k8s_prompt_secret_create_failed"),
    ],
)
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_outage_at_any_call_before_the_start_is_retryable(
    tmp_path: Path, verb: str, resource: str, code: str, status: int
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse(verb, resource, status, times=10_000)
        result, _ = await run()
        assert_retryable(result, code)
        assert result.execution_recovery == NOT_STARTED


@pytest.mark.parametrize("verb_resource", ["list jobs", "create jobs", "create secrets", "create leases"])
async def test_rejected_credentials_are_reported_as_such(tmp_path: Path, verb_resource: str) -> None:
    verb, resource = verb_resource.split()
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse(verb, resource, 401, times=10_000)
        result, _ = await run()
        assert "HTTP 401 Unauthorized" in (result.error_message or "")
        assert "renew the credentials of this process" in (result.error_message or "")


async def test_missing_right_to_list_jobs_is_reported_with_the_role(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.denied.add(("list", "jobs"))
        result, _ = await run()
        assert 'cannot list resource "jobs"' in (result.error_message or "")
        assert "`claude-k8s rbac` prints the Role" in (result.error_message or "")


@pytest.mark.parametrize("resource", ["jobs", "secrets", "leases"])
async def test_create_that_conflicts_with_another_write_is_repeated(tmp_path: Path, resource: str) -> None:
    """The admission plugin for quotas responds like this if two objects are created at the same moment."""
    text = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified'
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse("create", resource, 409, times=3, message=text)
        result, host_log = await run()
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        assert fake.calls.count("create", "jobs") == (4 if resource == "jobs" else 1)


@pytest.mark.parametrize("status", OVERLOADED)
async def test_orphan_that_cannot_be_relabelled_is_kept_for_the_next_run(tmp_path: Path, status: int) -> None:
    async with one_host(tmp_path, QUIET) as (fake, run):
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run())
            await asyncio.sleep(20)
            first.cancel()
        fake.faults.refuse("patch", "jobs", status, times=10_000)
        result, _ = await run(runId="run-2")
        assert_retryable(result, "k8s_pod_reattach_failed")
        assert "left alone, and the next run adopts it" in (result.error_message or "")
        assert count_jobs(fake) == 1
        fake.faults.request_hooks.clear()
        again, host_log = await run(runId="run-3")
        assert again.error_message is None
        assert host_log.status.count("Reattaching") == 1
        assert fake.calls.count("create", "jobs") == 1


# What is not an outage -----------------------------------------------------------------------------------


QUOTA = 'leases.coordination.k8s.io "x" is forbidden: exceeded quota: few, requested: count/leases=1'


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (QUOTA, "free some of the namespace's quota on Leases"),
        ('admission webhook "x" denied the request: no Leases', "change what the policy objects to"),
        ('User "x" cannot create resource "leases"', "`claude-k8s rbac` prints the Role"),
    ],
)
async def test_refused_leases_are_reported_with_the_next_step(
    tmp_path: Path, message: str, hint: str
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse("create", "leases", 403, times=10_000, message=message)
        result, host_log = await run()
        assert result.error_message is None
        (line,) = [line for line in host_log.status.splitlines() if "Leases cannot be used" in line]
        assert hint in line
        assert ("rbac" in line) == ("rbac" in hint)


async def test_slot_lease_refused_by_quota_is_reported_as_quota(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):

        async def refuse_after_first_lease() -> None:
            while not fake.calls.count("create", "leases"):  # noqa: ASYNC110  # there is no event for a call
                await asyncio.sleep(0.0001)
            await asyncio.sleep(0.001)
            fake.faults.refuse("create", "leases", 403, times=10_000, message=QUOTA)

        async with asyncio.TaskGroup() as group:
            group.create_task(refuse_after_first_lease())
            running = group.create_task(run())
        result, _ = running.result()
        assert_retryable(result, "k8s_concurrency_guard_unreachable")
        assert "free some of the namespace's quota" in (result.error_message or "")
        assert "list jobs" not in (result.error_message or "")


@pytest.mark.parametrize("reported_by", ["keepalive", "progress"])
async def test_watch_being_reopened_is_not_reported_as_an_outage(tmp_path: Path, reported_by: str) -> None:
    """After SIGCONT, a process notices that its watch was closed at the moment when a keepalive is due."""
    reports: list[str] = []
    host_log = HostLog()

    async def on_progress(progress: dict[str, Any]) -> None:
        reports.append(progress["message"])

    async with one_host(tmp_path, QUIET) as (fake, run):

        async def break_watches_just_before_the_first_keepalive() -> None:
            while not (reports or host_log.stdout):  # noqa: ASYNC110  # there is no event for a callback
                await asyncio.sleep(0.01)
            await asyncio.sleep(Timings().keepalive - 0.1)
            fake.go_down(0.5)

        more = {"onSpawn": None, "onRuntimeProgress": on_progress} if reported_by == "progress" else {}
        async with asyncio.TaskGroup() as group:
            group.create_task(break_watches_just_before_the_first_keepalive())
            running = group.create_task(run(host_log, **more))
        assert running.result()[0].error_message is None
        lines = reports[1:] or [line for line in host_log.status.splitlines() if "keepalive" in line]
        assert "since last output" in lines[0]
        assert "unreachable" not in lines[0]
