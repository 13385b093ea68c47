"""Runs from launch to result on virtual time: their endings, and what the host's log contains."""

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.in_memory_runs import FOREVER, GOOD, PARTIAL, QUIET, WHOLE, count_jobs, one_host

from paperclip_claude_k8s.devcluster.kinds import JOBS
from paperclip_claude_k8s.run.cancel_job import cancel_job, wait_until_stopped
from paperclip_claude_k8s.testing import PodScript

pytestmark = pytest.mark.looptime


async def test_good_run_makes_few_requests_and_leaves_no_job(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, host_log = await run()
        assert result.exit_code == 0
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        shared = 4 + 2  # list and watch of Jobs and Pods; the process's own Lease, and the list of stale ones
        of_the_run = 10
        assert len(fake.calls.made) <= shared + of_the_run, fake.calls.made
        assert fake.calls.count("create", "jobs") == 1
        assert count_jobs(fake) == 0


async def test_keepalives_become_less_frequent(tmp_path: Path) -> None:
    async with one_host(tmp_path, QUIET) as (fake, run):
        result, host_log = await run()
        assert result.error_message is None
        lines = [line for line in host_log.status.splitlines() if "keepalive" in line]
        seconds = [line.partition("(")[2].partition("s")[0] for line in lines]
        assert seconds == ["15", "30", "45", "60", "120", "180"]
        assert [spawn["processGroupId"] for spawn in host_log.spawned] == [None, None]  # at 0 s and 180 s
        assert fake.calls.count("get", "jobs") == 0


async def test_host_without_on_spawn_gets_progress_instead_of_keepalives(tmp_path: Path) -> None:
    reports: list[tuple[float, dict[str, Any]]] = []
    loop = asyncio.get_running_loop()

    async def on_runtime_progress(progress: dict[str, Any]) -> None:
        reports.append((loop.time(), progress))
        raise RuntimeError("the host's bug")

    async with one_host(tmp_path, QUIET) as (_, run):
        result, host_log = await run(onSpawn=None, onRuntimeProgress=on_runtime_progress)
        assert result.error_message is None
        assert "keepalive" not in host_log.status
        assert host_log.spawned == []
        times = [when for when, _ in reports]
        assert all(later - earlier < 90 for earlier, later in pairwise(times)), "older progress is dropped"
        assert "waits for its Pod" in reports[0][1]["message"]
        assert "running (" in reports[-1][1]["message"]
        assert reports[-1][1]["lastEventAt"].endswith("Z")
        assert all(len(progress["message"]) <= 180 for _, progress in reports)


async def test_run_without_result_reports_how_its_container_ended(tmp_path: Path) -> None:
    pod_script = PodScript(output=((0.0, PARTIAL),), exit_code=137, reason="OOMKilled", summarized=False)
    async with one_host(tmp_path, pod_script) as (_, run):
        result, _ = await run()
        assert result.error_code == "claude_truncated"
        assert "exit code 137, SIGKILL (commonly OOMKilled), reason=OOMKilled" in (result.error_message or "")
        assert result.session_id is not None
        assert result.result_json is not None
        assert result.result_json["conversationContinuation"] == "continue_conversation_v1"


async def test_evicted_pod_is_a_retryable_disruption(tmp_path: Path) -> None:
    async with one_host(tmp_path, PodScript(output=((0.0, PARTIAL),), evicted_at=3.0)) as (_, run):
        result, _ = await run()
        assert result.error_code == "k8s_pod_disrupted"
        assert result.error_family == "transient_upstream"
        assert "Evicted" in (result.error_message or "")
        assert "low on memory" in (result.error_message or "")


async def test_job_deleted_externally_is_reported_with_details(tmp_path: Path) -> None:
    async with one_host(tmp_path, PodScript(output=((0.0, PARTIAL),), ends_at=600.0)) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(20)
            (job,) = fake.store.list(JOBS)
            fake.store.remove(JOBS, "paperclip", job["metadata"]["name"])
        result, _ = running.result()
        assert result.error_code == "k8s_job_deleted_externally"
        assert "detected_via=" in (result.error_message or "")
        assert f"stdout_nonempty_lines={len(PARTIAL.splitlines())}" in (result.error_message or "")


@pytest.mark.parametrize("waiting", [(), ((500.0, "ContainerCreating", ""),)], ids=["working", "starting"])
async def test_run_is_reported_as_cancelled_if_a_person_cancels_its_job(
    tmp_path: Path, waiting: tuple[Any, ...]
) -> None:
    script = PodScript(waiting=waiting, output=((0.0, PARTIAL),), ends_at=9600.0)
    async with one_host(tmp_path, script) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(20)
            (found,) = (await fake.gateway.list_jobs("paperclip", {})).items
            assert await cancel_job(found.ref, "ada@laptop\n\x1b[2J", fake.gateway)
            await wait_until_stopped(found.ref, fake.gateway)
        result, _ = running.result()
        assert result.error_code == "cancelled"
        assert (result.error_message or "").startswith("Run cancelled by ada@laptop ")
        assert "\x1b" not in (result.error_message or "")
        assert result.error_family is None


async def test_time_limit_counts_from_the_start_of_the_container(tmp_path: Path) -> None:
    slow = PodScript(waiting=((100.0, "ContainerCreating", ""),), output=((0.0, PARTIAL),), ends_at=9999.0)
    async with one_host(tmp_path, slow) as (fake, run):
        began = asyncio.get_running_loop().time()
        result, _ = await run(config={"timeoutSec": 30})
        assert result.timed_out
        assert result.error_code == "timeout"
        assert (result.error_message or "").startswith("Timed out after 30s — raise timeoutSec")
        assert 129 < asyncio.get_running_loop().time() - began < 135
        assert count_jobs(fake) == 0


async def test_stopped_run_is_cancelled_and_leaves_no_job(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with one_host(tmp_path, PodScript(output=((0.0, PARTIAL),), ends_at=9999.0)) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(signal=stop))
            await asyncio.sleep(20)
            stop.set()
        result, _ = running.result()
        assert result.error_code == "cancelled"
        assert (result.exit_code, result.signal) == (None, "SIGTERM")
        assert result.result_json is not None
        assert result.result_json["executionCancellation"]["state"] == "acknowledged"
        assert result.execution_recovery is not None
        assert result.execution_recovery["kind"] == "interrupted"
        assert result.session_id is not None
        assert count_jobs(fake) == 0


async def test_run_stopped_before_its_start_creates_nothing(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, _ = await run(signal=stop)
        assert result.error_code == "cancelled"
        assert fake.calls.count("create") == 0


async def test_stop_is_reported_as_unconfirmed_while_the_pod_still_exists(tmp_path: Path) -> None:
    """The Pod ignores SIGTERM and still exists when the adapter ends its wait for the Pod's deletion."""
    ignores_sigterm = PodScript(output=QUIET.output, ends_at=QUIET.ends_at, on_sigterm=None)
    async with one_host(tmp_path, ignores_sigterm) as (_, run):
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(5, stop.set)
        result, host_log = await run(signal=stop, config={"stopGraceSec": 100})
    assert result.error_code == "cancelled"
    assert "stopped: its Pod was not proven gone within 45s\n" in host_log.status


class SignalThatSwallowsCancellation:
    """A stop signal of the host. When its `wait` is cancelled, it returns normally."""

    def is_set(self) -> bool:
        return False

    async def wait(self) -> bool:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(9999)
        return False


async def test_signal_that_swallows_cancellation_does_not_stop_the_run(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        result, host_log = await run(signal=SignalThatSwallowsCancellation(), config={"retainJobs": True})
        assert result.exit_code == 0
        assert "deleting Job" not in host_log.status
        assert count_jobs(fake) == 1


class SignalThatRaises:
    """A stop signal of the host. Its `wait` raises `error` after `after` seconds, or when it is cancelled."""

    def __init__(self, error: BaseException, after: float) -> None:
        self._error, self._after = error, after

    def is_set(self) -> bool:
        return False

    async def wait(self) -> None:
        try:
            await asyncio.sleep(self._after)
        finally:
            raise self._error


@pytest.mark.parametrize("after", [0.0, 0.004, 1.0, 9999.0])
@pytest.mark.parametrize("error", [ValueError("a bug"), asyncio.CancelledError()], ids=["bug", "cancelled"])
async def test_run_whose_signal_raises_succeeds_and_leaves_no_job(
    error: BaseException, after: float, tmp_path: Path
) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run), asyncio.timeout(600):
        result, _ = await run(signal=SignalThatRaises(error, after))
        assert (result.error_message, result.exit_code) == (None, 0)
        assert count_jobs(fake) == 0


async def test_signal_that_swallows_cancellation_does_not_stop_the_agent_at_shutdown(tmp_path: Path) -> None:
    async with one_host(tmp_path, QUIET) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(signal=SignalThatSwallowsCancellation()))
            await asyncio.sleep(20)
            running.cancel()
        assert running.cancelled()
        assert count_jobs(fake) == 1


async def test_ten_minutes_without_api_server_do_not_harm_a_run(tmp_path: Path) -> None:
    late = PodScript(output=((0.0, PARTIAL), (700.0, WHOLE[len(PARTIAL) :])), ends_at=701.0)
    async with one_host(tmp_path, late) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(30)
            fake.go_down(600)
        result, host_log = running.result()
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        assert result.result_json is not None
        assert result.result_json["log"]["complete"] is True
        assert "API server unreachable" in host_log.status


async def test_cancelled_task_keeps_the_job_for_the_next_process(tmp_path: Path) -> None:
    async with one_host(tmp_path, QUIET) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(30)
            running.cancel()
        assert count_jobs(fake) == 1


async def test_second_run_of_an_agent_is_blocked(tmp_path: Path) -> None:
    async with one_host(tmp_path, QUIET) as (fake, run):
        async with asyncio.TaskGroup() as group:
            first = group.create_task(run())
            await asyncio.sleep(20)
            second, _ = await run(runId="run-2", config={"concurrencyWaitSec": 0})
        assert second.error_code == "k8s_concurrent_run_blocked"
        assert second.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
        assert first.result()[0].error_message is None
        assert fake.calls.count("create", "jobs") == 1


@pytest.mark.parametrize(
    ("pod_script", "config", "message"),
    [
        (
            PodScript(waiting=((FOREVER, "ErrImagePull", "no such image"),)),
            {"imagePullTimeoutSec": 90},
            "imagePullTimeoutSec is 90",
        ),
        (PodScript(waiting=((FOREVER, "InvalidImageName", "not a name"),)), {}, "InvalidImageName"),
        (
            PodScript(waiting=((FOREVER, "CreateContainerConfigError", "no key"),)),
            {"startTimeoutSec": 7},
            "startTimeoutSec is 7",
        ),
    ],
)
async def test_pod_that_never_starts_is_reported_with_its_time_limit_or_reason(
    tmp_path: Path, pod_script: PodScript, config: dict[str, Any], message: str
) -> None:
    async with one_host(tmp_path, pod_script) as (fake, run):
        result, _ = await run(config=config)
        assert result.error_code == "k8s_pod_schedule_failed"
        assert message in (result.error_message or "")
        assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
        assert count_jobs(fake) == 0


async def test_unschedulable_pod_is_explained_after_its_time_limit(tmp_path: Path) -> None:
    config = {"resources.requests.cpu": "9000", "scheduleTimeoutSec": 50}
    async with one_host(tmp_path, GOOD) as (_, run):
        result, host_log = await run(config=config)
        assert "Insufficient cpu" in (result.error_message or "")
        assert "scheduleTimeoutSec is 50" in (result.error_message or "")
        (shown,) = [line for line in host_log.status.splitlines() if "Insufficient cpu" in line]
        assert "phase=Pending, Unschedulable" in shown  # its Event says the same, and is not repeated


async def test_run_that_may_not_list_jobs_creates_none(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.denied.add(("list", "jobs"))
        result, _ = await run()
        assert result.error_code == "k8s_concurrency_guard_unreachable"
        assert fake.calls.count("create", "jobs") == 0


async def test_job_is_deleted_if_its_secret_is_refused(tmp_path: Path) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        # the init container, which could replace the Secret, needs Leases
        fake.faults.denied |= {("create", "secrets"), ("create", "leases")}
        result, _ = await run()
        assert result.error_code == "k8s_prompt_secret_create_failed"
        assert "cannot create" in (result.error_message or "")
        assert count_jobs(fake) == 0


@pytest.mark.parametrize(
    ("verb", "resource"), [("list", "jobs"), ("create", "jobs"), ("create", "secrets"), ("delete", "jobs")]
)
async def test_short_outage_of_the_api_server_is_retried(tmp_path: Path, verb: str, resource: str) -> None:
    async with one_host(tmp_path, GOOD) as (fake, run):
        fake.faults.refuse(verb, resource, 503, times=2, retry_after=1)
        result, host_log = await run()
        assert result.error_message is None
        assert host_log.status.count("trying again") <= 1
        assert count_jobs(fake) == 0


async def test_exception_in_on_log_does_not_lose_the_result(tmp_path: Path) -> None:
    async def broken(stream: str, text: str) -> None:
        raise ValueError(stream)

    async with one_host(tmp_path, GOOD) as (_, run):
        result, _ = await run(onLog=broken)
        assert result.exit_code == 0
        assert result.summary


async def test_job_and_result_contain_no_secret(tmp_path: Path) -> None:
    async with one_host(tmp_path, QUIET) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(authToken="canary-1", config={"env": {"MY_TOKEN": "canary-2"}}))
            await asyncio.sleep(20)
            (job,) = fake.store.list(JOBS)
            assert "canary" not in json.dumps(job)
        assert "canary" not in json.dumps(running.result()[0].to_wire())


async def test_run_whose_right_to_watch_is_revoked_keeps_its_job_and_output(tmp_path: Path) -> None:
    """After the rights are revoked, nobody knows whether the agent still works."""
    async with one_host(tmp_path, QUIET) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(30)
            for verb in ("list", "watch", "get"):
                for resource in ("jobs", "pods"):
                    fake.faults.denied.add((verb, resource))
            fake.faults.close_watches()
        result, host_log = running.result()
        assert result.error_code == "k8s_job_state_mismatch"
        assert "cannot" in (result.error_message or "")
        assert "left alone" in (result.error_message or "")
        assert host_log.stdout.encode() == WHOLE.split(b"\n", 1)[0] + b"\n"
        assert "its end could not be observed" in host_log.status
        assert count_jobs(fake) == 1
