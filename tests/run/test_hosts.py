"""Slots, Leases and adoption with two host processes that stop, disconnect or compete, on virtual time.

A wake is what the Paperclip host starts an agent for: the task, and the text in the context of the run.
"""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Host, jobs, lease_holders, started
from tests.support.in_memory_runs import (
    FOREVER,
    LONG,
    PARTIAL,
    SESSION,
    UNKNOWN_SESSION_OUTPUT,
    WHOLE,
    assert_whole,
    two_hosts,
)
from tests.support.traced_cluster import Moment

from paperclip_claude_k8s.devcluster.kinds import JOBS, LEASES, PODS, SECRETS
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, HostLog, PodScript

pytestmark = pytest.mark.looptime

WITH_VOLUME = {"claimName": "paperclip-data"}
"""A config with which sessions outlive their Pods."""


async def test_run_holds_its_slot_lease_and_releases_it(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        async with started(one) as task:
            assert lease_holders(fake, "slot") == ["host-one/run-1"]
            assert lease_holders(fake, "process") == ["host-one"]
            await task
        await asyncio.sleep(5)
        assert lease_holders(fake, "slot") + lease_holders(fake, "process") == []
        assert jobs(fake) == []


async def test_long_run_renews_a_single_lease(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _), started(one):
        before = fake.calls.count("update", "leases")
        await asyncio.sleep(200)
        assert fake.calls.count("update", "leases") - before == 200 // 20  # `Timings.lease_renewal` is 20 s
        assert len(lease_holders(fake, "slot")) == 1


async def test_run_cancelled_while_releasing_its_slot_leaves_no_lease(tmp_path: Path) -> None:
    async with FakeCluster.start(tmp_path, LONG) as fake, asyncio.TaskGroup() as group:

        def cancel_at_release(call: str, moment: Moment) -> bool:
            if (call, moment) == ("delete_lease of slot", Moment.BEFORE):
                running.cancel()
            return False

        host = Host(fake, "host-one", cancel_at_release)
        running = group.create_task(host.run())
        await asyncio.wait([running])
        assert running.cancelled()
        assert len(lease_holders(fake, "slot")) == 1
        await host.adapter.shutdown()
        assert lease_holders(fake, "slot") == lease_holders(fake, "process") == []


async def test_same_run_is_adopted_at_once_after_a_shutdown(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one) as task:
            await one.adapter.shutdown()
            assert task.cancelled()
            assert lease_holders(fake, "slot") + lease_holders(fake, "process") == []
            began = asyncio.get_running_loop().time()
            result, host_log = await two.run()
        assert_whole(result, host_log)
        assert "our own earlier attempt" in host_log.status
        # `LONG` takes 300 s; the first host watched it for 30 s
        assert asyncio.get_running_loop().time() - began < 290
        assert fake.calls.count("create", "jobs") == 1
        assert jobs(fake) == []


async def test_job_created_without_a_secret_is_adopted(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.denied.add(("create", "secrets"))
        async with started(one):
            (job,) = fake.store.list(JOBS)
            await one.adapter.shutdown()
        result, host_log = await two.run()
        assert job["metadata"]["annotations"]["paperclip.io/ungated"] == "true"
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        assert "Reattaching" in host_log.status


async def test_orphan_is_adopted_and_relabelled_by_a_run_of_its_task(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one) as first:
            first.cancel()
            await asyncio.sleep(1)
            async with started(two, 5, runId="run-2") as second:
                (job,) = jobs(fake)
                assert job["metadata"]["labels"]["paperclip.io/run-id"] == "run-2"
                result, host_log = await second
        assert_whole(result, host_log)
        assert fake.calls.count("create", "jobs") == 1


async def test_on_meta_names_the_adopted_job(tmp_path: Path) -> None:
    seen = HostLog()
    async with two_hosts(tmp_path, LONG) as (fake, one, two), started(one) as first:
        first.cancel()
        (job,) = jobs(fake)
        result, _ = await two.run(runId="run-2", onMeta=seen.on_meta)
    assert result.error_message is None
    (meta,) = seen.meta
    assert meta["command"] == f"kubectl job/{job['metadata']['name']}"
    assert (meta["commandArgs"], meta["prompt"]) == ([], "")
    assert "Reattached from prior run: run-1" in meta["commandNotes"]


async def test_adopted_run_can_be_cancelled(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one) as first:
            first.cancel()
            async with started(two, 5, runId="run-2", signal=stop) as second:
                stop.set()
                result, host_log = await second
        assert result.error_code == "cancelled"
        assert host_log.stdout.encode() == PARTIAL
        assert jobs(fake) == []


async def test_run_of_a_disconnected_process_is_adopted_after_its_lease_has_expired(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one):
            one.disconnect()
            began = asyncio.get_running_loop().time()
            async with started(two, 60) as second:
                assert len(jobs(fake)) == 1
                assert not second.done()
                await asyncio.sleep(10)
                result, host_log = await second
            assert "Lease to expire" in host_log.status
            adopted_after = next(float(at) for at, text in host_log.times if "Reattaching" in text) - began
            assert 60 < adopted_after <= 70
            assert_whole(result, host_log)
        assert fake.calls.count("create", "jobs") == 1


async def test_process_that_reconnects_does_not_touch_a_job_that_was_taken_over(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        first_log = HostLog()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(one.run(first_log))
            await asyncio.sleep(30)
            one.disconnect()
            second = group.create_task(two.run())
            await asyncio.sleep(100)
            one.connection.restore()
        result, host_log = second.result()
        assert_whole(result, host_log)
        result = first.result()[0]
        assert result.error_code == "k8s_run_taken_over"
        assert (result.usage, result.cost_usd, result.summary) == (None, None, None)
        assert "another host process took it over" in first_log.status
        assert fake.calls.count("create", "jobs") == 1


@pytest.mark.parametrize("run_id", ["run-1", "run-2"])
async def test_job_with_a_live_holder_is_not_adopted(tmp_path: Path, run_id: str) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one) as first:
            result, _ = await two.run(runId=run_id)
            assert result.error_code == "k8s_concurrent_run_blocked"
            assert result.execution_recovery == {"kind": "bootstrap", "providerWorkStarted": False}
            assert "run-1" in (result.error_message or "")
            assert_whole(*await first)
        assert fake.calls.count("create", "jobs") == 1


async def test_run_waits_for_its_slot_within_concurrency_wait_sec(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one):
            result, host_log = await two.run(runId="run-2", config={"concurrencyWaitSec": 1000})
        assert_whole(result, host_log)
        assert host_log.status.count("Waiting up to 1000s") == 1
        # during the wait of 270 s the run does not ask every second
        assert fake.calls.count("create", "leases") < 30
        assert fake.calls.count("create", "jobs") == 2


async def test_task_scope_lets_other_tasks_run_concurrently(tmp_path: Path) -> None:
    config = {"concurrencyScope": "task"}
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one, config=config):
            other = {"taskId": "task-2", "paperclipTaskMarkdown": "Else."}
            result, host_log = await two.run(runId="run-2", config=config, context=other)
        assert_whole(result, host_log)
        assert fake.calls.count("create", "jobs") == 2


async def finish_unobserved(fake: FakeCluster, one: Host) -> None:
    """Cancel a run, and wait until its Job has finished without a host."""
    async with started(one) as task:
        task.cancel()
    await asyncio.sleep(300)
    (job,) = jobs(fake)
    assert any(condition["type"] == "Complete" for condition in job["status"]["conditions"])


@pytest.mark.parametrize(
    "more",
    [{}, {"runId": "run-2"}, {"runId": "run-2", "context": {"taskId": "task-1", "retryOfRunId": "run-1"}}],
    ids=["same run", "other run", "retry"],
)
async def test_unclaimed_result_is_used_by_a_run_of_the_same_wake(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        began = asyncio.get_running_loop().time()
        result, host_log = await two.run(**more)
        assert_whole(result, host_log)
        assert "Taking the result of finished K8s Job" in host_log.status
        assert "Reattaching" not in host_log.status
        assert asyncio.get_running_loop().time() - began < 5
        assert fake.calls.count("create", "jobs") == 1
        assert jobs(fake) == []


async def test_unclaimed_result_of_another_task_is_ignored(tmp_path: Path) -> None:
    """The wakes are equal; only the task differs."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        other = {"taskId": "task-2", "paperclipTaskMarkdown": "Do it."}
        result, host_log = await two.run(runId="run-2", context=other)
        assert_whole(result, host_log)
        assert "belongs to a different task" in host_log.status
        assert fake.calls.count("create", "jobs") == 2


@pytest.mark.parametrize("task", ["task-1", "task-2"])
async def test_runs_with_ids_that_are_not_label_values_are_kept_apart(tmp_path: Path, task: str) -> None:
    """Neither "@@@" nor "###" can be a label, so only the names of their Jobs differ."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one, runId="@@@") as first:
            first.cancel()
            await asyncio.sleep(1)
            context = {"taskId": task, "paperclipTaskMarkdown": "Do it."}
            async with started(two, 5, runId="###", context=context) as second:
                result, host_log = await second
        assert "our own earlier attempt" not in host_log.status
        if task == "task-1":  # adopted like any orphan of our task
            assert_whole(result, host_log)
            assert "created by an earlier host process" in host_log.status
        else:
            assert result.error_code == "k8s_concurrent_run_blocked"
        assert fake.calls.count("create", "jobs") == 1


@pytest.mark.parametrize("seconds", [1, 300])
async def test_run_with_an_id_that_is_not_a_label_value_finds_its_earlier_attempt(
    tmp_path: Path, seconds: float
) -> None:
    bare: dict[str, Any] = {"runId": "@@@", "context": {}}
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one, **bare) as first:
            first.cancel()
        await asyncio.sleep(seconds)
        result, host_log = await two.run(**bare)
        assert_whole(result, host_log)
        assert "our own earlier attempt" in host_log.status
        assert fake.calls.count("create", "jobs") == 1


def remove_pods(fake: FakeCluster) -> None:
    """Remove all Pods, as the Pod garbage collector does."""
    for pod in list(fake.store.list(PODS)):
        fake.store.remove(PODS, "paperclip", pod["metadata"]["name"])


async def test_finished_job_without_its_pod_fails_at_once(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        remove_pods(fake)
        began = asyncio.get_running_loop().time()
        result, _ = await two.run()
        assert asyncio.get_running_loop().time() - began < 5
        assert result.error_code == "k8s_pod_reattach_failed"
        assert "has finished (Complete" in (result.error_message or "")
        assert "its Pod is gone" in (result.error_message or "")
        assert result.error_family is None
        assert fake.calls.count("create", "jobs") == 1
        assert jobs(fake) == []


async def test_job_that_passed_its_deadline_unobserved_is_reported_as_a_timeout(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        remove_pods(fake)

        def exceed(job: Any) -> None:
            for condition in job["status"]["conditions"]:
                condition |= {"type": "Failed", "reason": "DeadlineExceeded"}

        fake.store.update(JOBS, "paperclip", jobs(fake)[0]["metadata"]["name"], exceed)
        result, _ = await two.run(config={"timeoutSec": 77})
        assert result.error_code == "timeout"
        assert result.timed_out
        assert jobs(fake) == []


async def test_result_is_recovered_from_the_volume(tmp_path: Path) -> None:
    file = tmp_path / "volume" / "run-logs" / "co" / "agent-1" / "run-1.ndjson"
    file.parent.mkdir(parents=True)
    file.write_bytes(WHOLE)
    path = str(file.relative_to(tmp_path / "volume"))
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        remove_pods(fake)

        def annotate(job: Any) -> None:
            job["metadata"]["annotations"]["paperclip.io/run-log"] = path

        fake.store.update(JOBS, "paperclip", jobs(fake)[0]["metadata"]["name"], annotate)
        result, host_log = await two.run(config={"sharedVolumeDir": str(tmp_path / "volume")})
        assert_whole(result, host_log)
        assert result.result_json is not None
        (warning,) = result.result_json["warnings"]
        assert warning.startswith(f"output_unproven: the last {len(WHOLE)} bytes")
        assert fake.calls.count("create", "jobs") == 1
        assert not file.exists()
        assert jobs(fake) == []


async def test_repeated_call_returns_the_result_again(tmp_path: Path) -> None:
    """The result of the first call was lost, and its Job was retained."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        first, _ = await one.run(config={"retainJobs": True})
        result, host_log = await two.run()
        assert_whole(result, host_log)
        assert result.session_id == first.session_id
        assert "Taking the result of K8s Job" in host_log.status
        assert "this run has already finished in it" in host_log.status
        assert fake.calls.count("create", "secrets") == 1
        assert jobs(fake) == []


async def test_run_waits_until_its_terminating_job_has_been_deleted(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        remove_pods(fake)
        (old,) = jobs(fake)
        name = old["metadata"]["name"]
        terminating = {"deletionTimestamp": "2026-01-01T00:05:00Z", "finalizers": ["example.com/hold"]}
        fake.store.update(JOBS, "paperclip", name, lambda job: job["metadata"].update(terminating))
        no_finalizers: dict[str, Any] = {"finalizers": []}
        remove_finalizers = partial(
            fake.store.update, JOBS, "paperclip", name, lambda job: job["metadata"].update(no_finalizers)
        )
        asyncio.get_running_loop().call_later(10, remove_finalizers)
        result, host_log = await two.run()
        assert_whole(result, host_log)
        assert fake.calls.count("create", "secrets") == 2
        assert jobs(fake) == []


async def test_run_fails_if_a_job_of_another_run_has_its_name(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one) as first:
            (job,) = jobs(fake)
            name = job["metadata"]["name"]
            first.cancel()
        foreign_labels = {"paperclip.io/agent-id": "somebody", "paperclip.io/run-id": "else"}
        fake.store.update(
            JOBS, "paperclip", name, lambda found: found["metadata"]["labels"].update(foreign_labels)
        )
        (pod_name,) = (pod["metadata"]["name"] for pod in fake.store.list(PODS))
        fake.store.update(
            PODS, "paperclip", pod_name, lambda found: found["metadata"]["labels"].update(foreign_labels)
        )
        result, _ = await two.run()
        assert result.error_code == "k8s_job_create_failed"
        assert f'"{name}" already exists' in (result.error_message or "")
        assert [found["metadata"]["name"] for found in jobs(fake)] == [name]


@pytest.mark.parametrize("leases_allowed", ["leases", "no leases"])
async def test_only_one_of_two_concurrent_runs_adopts_an_orphan(tmp_path: Path, leases_allowed: str) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        if leases_allowed == "no leases":
            fake.faults.denied.add(("create", "leases"))
        stopped = Host(fake, "host-zero")
        async with started(stopped, 5):
            await stopped.adapter.shutdown()
        await asyncio.sleep(190)  # without Leases a holder counts as dead after this time
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(host.run(runId=f"run-of-{host}")) for host in (one, two)]
        (adopting,) = [result for task in both if (result := task.result())[0].error_code is None]
        (blocked,) = [result for task in both if (result := task.result())[0].error_code is not None]
        assert_whole(*adopting)
        assert blocked[0].error_code == "k8s_concurrent_run_blocked"
        assert fake.calls.count("create", "jobs") == 1
        assert jobs(fake) == []


async def test_launch_starts_over_if_another_host_creates_a_job_at_the_same_moment(tmp_path: Path) -> None:
    """The other host then stops. The list of Jobs after the create shows the Jobs of both hosts."""
    async with FakeCluster.start(tmp_path, LONG) as fake:

        def create_another_job(call: str, moment: Moment) -> bool:
            is_first = call.startswith("create_job") and fake.calls.count("create", "jobs") == 1
            if is_first and moment is Moment.AFTER:
                (ours,) = jobs(fake)
                labels = {**ours["metadata"]["labels"], "paperclip.io/run-id": "run-2"}
                meta = {"name": "ac-other", "namespace": "paperclip", "labels": labels}
                fake.store.create(JOBS, {"metadata": meta, "spec": ours["spec"]})
            return False

        host = Host(fake, "host-one", create_another_job)
        result, host_log = await host.run()
        assert_whole(result, host_log)
        assert "Job ac-other was created concurrently; backing off" in host_log.status
        assert fake.calls.count("create", "jobs") == 2
        assert fake.calls.count("create", "secrets") == 1
        assert jobs(fake) == []
        await host.adapter.shutdown()


async def test_terminating_job_holds_the_slot_while_its_pod_runs(tmp_path: Path) -> None:
    ignores_sigterm = PodScript(
        output=((0.0, PARTIAL), (300.0, WHOLE[len(PARTIAL) :])), ends_at=301.0, on_sigterm=None
    )
    pod_scripts = iter([ignores_sigterm, LONG])
    async with two_hosts(tmp_path, lambda _pod: next(pod_scripts)) as (fake, one, two):
        async with started(one) as first:
            first.cancel()
            await asyncio.sleep(1)
            (old,) = jobs(fake)
            terminating = {"deletionTimestamp": "2026-01-01T00:00:31Z", "finalizers": ["foregroundDeletion"]}
            name = old["metadata"]["name"]
            fake.store.update(JOBS, "paperclip", name, lambda job: job["metadata"].update(terminating))
            async with started(two, 15, runId="run-2") as second:
                assert [job["metadata"]["name"] for job in jobs(fake)] == [name]
                result, host_log = await second
        assert_whole(result, host_log)
        assert "of an earlier run of this agent has not ended" in host_log.status
        assert fake.calls.count("create", "jobs") == 2


async def test_hanging_watch_delays_the_result_by_less_than_37_seconds(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        async with started(one, 280) as first:
            one.connection.watches_flowing.clear()
            result, host_log = await first
            # the Pod ends after 301 s; `Timings.log_quiet` is 30 s
            assert asyncio.get_running_loop().time() < 301 + 37
        assert_whole(result, host_log)
        assert jobs(fake) == []


async def test_new_wake_resumes_the_session_of_the_last_run(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        await finish_unobserved(fake, one)
        context = {"taskId": "task-1", "paperclipTaskMarkdown": "Something new."}
        async with started(two, 5, runId="run-2", context=context, config=WITH_VOLUME) as second:
            new = next(
                job for job in jobs(fake) if job["metadata"]["labels"]["paperclip.io/run-id"] == "run-2"
            )
            old = next(job for job in jobs(fake) if job is not new and "run-1" in json.dumps(job["metadata"]))
            assert "paperclip.io/result-taken" in old["metadata"]["annotations"]
            command = new["spec"]["template"]["spec"]["containers"][0]["command"]
            result, host_log = await second
        assert_whole(result, host_log)
        assert command[command.index("--resume") + 1] == result.session_id
        assert "belongs to a different wake" in host_log.status


async def test_started_job_whose_secret_and_annotation_are_missing_is_adopted(tmp_path: Path) -> None:
    """The host deleted the Secret when the Pod was being deleted, and could not annotate the Job."""
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        async with started(one, 30):
            for secret in list(fake.store.list(SECRETS)):
                fake.store.remove(SECRETS, NAMESPACE, secret["metadata"]["name"])
            await one.adapter.shutdown()
        result, host_log = await two.run()
        assert_whole(result, host_log)
        assert "Reattaching to in-flight K8s Job" in host_log.status
        assert fake.calls.count("create", "jobs") == 1


async def test_unknown_session_is_retried_once_with_a_fresh_one(tmp_path: Path) -> None:
    def pod_script_of(pod: Any) -> PodScript:
        resumes = "--resume" in pod["spec"]["containers"][0]["command"]
        return PodScript(
            output=((0.0, UNKNOWN_SESSION_OUTPUT if resumes else WHOLE),), exit_code=int(resumes)
        )

    async with two_hosts(tmp_path, pod_script_of) as (fake, one, _):
        runtime = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
        result, host_log = await one.run(runtime=runtime, config=WITH_VOLUME)
        assert result.error_message is None
        assert result.session_id is not None
        assert result.session_id != SESSION
        assert "trying once more with a fresh session" in host_log.status
        deleted = {name for verb, kind, name in fake.calls.made if (verb, kind) == ("delete", "jobs")}
        assert len(deleted) == 2
        assert fake.calls.count("create", "leases") == 2
        assert jobs(fake) == []


async def test_failed_fresh_session_is_not_retried(tmp_path: Path) -> None:
    pod_script = PodScript(output=((0.0, UNKNOWN_SESSION_OUTPUT),), exit_code=1)
    async with two_hosts(tmp_path, pod_script) as (fake, one, _):
        runtime = {"sessionId": SESSION, "sessionParams": {"sessionId": SESSION}}
        result, _ = await one.run(runtime=runtime, config=WITH_VOLUME)
        assert result.error_code == "session_unavailable"
        assert result.clear_session is True
        assert fake.calls.count("create", "jobs") == 2, "for the stored and the fresh session"


@pytest.mark.parametrize("denied", [["create"], ["create", "update"]])
async def test_without_leases_the_run_warns_and_writes_holder_annotations(
    tmp_path: Path, denied: list[str]
) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.denied |= {(verb, "leases") for verb in denied}
        host_log = HostLog()
        async with started(one, host_log=host_log) as first:
            (job,) = jobs(fake)
            annotations = job["metadata"]["annotations"]
            assert "host-one" in annotations["paperclip.io/holder"]
            blocked, _ = await two.run(runId="run-2")
            assert blocked.error_code == "k8s_concurrent_run_blocked"
            await asyncio.sleep(130)
            (job,) = jobs(fake)
            assert (
                job["metadata"]["annotations"]["paperclip.io/holder-seen"]
                > annotations["paperclip.io/holder-seen"]
            )
            assert_whole(*await first)
        assert host_log.status.count("Leases cannot be used") == 1


async def test_without_leases_an_orphan_is_adopted_after_three_minutes(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.denied.add(("create", "leases"))
        async with started(one) as first:
            first.cancel()
            blocked, _ = await two.run(runId="run-2")
            assert blocked.error_code == "k8s_concurrent_run_blocked"
            await asyncio.sleep(190)
            result, host_log = await two.run(runId="run-2")
        assert_whole(result, host_log)
        assert fake.calls.count("create", "jobs") == 1


async def test_cancel_ends_the_wait_for_the_slot(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with two_hosts(tmp_path, LONG) as (fake, one, two), started(one):
        async with started(two, 5, runId="run-2", signal=stop, config={"concurrencyWaitSec": 900}) as second:
            stop.set()
            result, _ = await second
        assert result.error_code == "cancelled"
        assert lease_holders(fake, "slot") == ["host-one/run-1"]
        assert fake.calls.count("create", "jobs") == 1


# each request to the cluster in memory takes 0.001 s
@pytest.mark.parametrize("seconds", [0.0005, 0.0015, 0.0025, 0.0035, 0.0045, 0.0055, 0.0065, 0.0075])
async def test_cancel_at_any_moment_of_the_launch_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    stop = asyncio.Event()
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(one.run(signal=stop))
            await asyncio.sleep(seconds)
            stop.set()
        assert running.result()[0].error_code == "cancelled"
        await asyncio.sleep(30)
        assert jobs(fake) == []
        assert lease_holders(fake, "slot") == []


async def test_stale_leases_of_a_disconnected_process_are_deleted(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two), started(one) as first:
        one.disconnect()
        first.cancel()
        await asyncio.sleep(4000)  # a Lease is stale after an hour
        assert lease_holders(fake, "process") == ["host-one"]
        assert lease_holders(fake, "slot") == ["host-one/run-1"]
        async with started(two, 5, agent={"id": "another"}):
            assert lease_holders(fake, "process") == ["host-two"]
            assert lease_holders(fake, "slot") == ["host-two/run-1"]


async def test_slot_lease_of_a_long_run_is_not_deleted(tmp_path: Path) -> None:
    """A slot Lease is written once; its process renews only its own Lease."""

    def age(lease: Any) -> None:
        long_ago = "2025-12-31T12:00:00.000000Z"
        lease["spec"] |= {"acquireTime": long_ago, "renewTime": long_ago}

    async with two_hosts(tmp_path, LONG) as (fake, one, two), started(one, 5):
        (slot,) = (lease for lease in fake.store.list(LEASES) if "slot" in lease["metadata"]["name"])
        fake.store.update(LEASES, "paperclip", slot["metadata"]["name"], age)
        async with started(two, 5, agent={"id": "another"}):
            assert sorted(lease_holders(fake, "slot")) == ["host-one/run-1", "host-two/run-1"]
            assert sorted(lease_holders(fake, "process")) == ["host-one", "host-two"]


async def test_job_that_never_got_its_secret_is_deleted_and_recreated(tmp_path: Path) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, two):
        fake.faults.refuse("create", "secrets", 503, times=10_000)
        async with started(one, 5):
            one.disconnect()
            fake.faults.request_hooks.clear()  # Secrets can be created again
            result, host_log = await two.run(runId="run-2")
        assert_whole(result, host_log)
        assert "so it never started" in host_log.status
        assert fake.calls.count("create", "jobs") == 2


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("create", "jobs"),
        ("create", "secrets"),
        ("create", "leases"),
        ("delete", "jobs"),
        ("delete", "leases"),
    ],
)
async def test_lost_response_to_a_call_leads_to_no_second_job(
    tmp_path: Path, verb: str, resource: str
) -> None:
    async with two_hosts(tmp_path, LONG) as (fake, one, _):
        one.connection.loses_response_of = (verb, resource)
        result, host_log = await one.run()
        assert_whole(result, host_log)
        assert one.connection.loses_response_of is None
        deleted = {job for call, kind, job in fake.calls.made if (call, kind) == ("delete", "jobs")}
        assert len(deleted) == 1
        await asyncio.sleep(5)
        assert jobs(fake) == []
        assert lease_holders(fake, "slot") == []


async def test_wait_for_a_run_does_not_shorten_the_wait_for_its_pod(tmp_path: Path) -> None:
    pod_scripts = iter([PodScript(output=((0.0, PARTIAL),), ends_at=FOREVER, stops_in=12.0)])

    def pod_script_of(_pod: Any) -> PodScript:
        return next(pod_scripts, PodScript(output=((0.0, WHOLE),), ends_at=2.0))

    async with two_hosts(tmp_path, pod_script_of) as (fake, one, two):
        fake.faults.denied.add(("create", "leases"))
        host_log = HostLog()
        async with started(one), asyncio.TaskGroup() as group:
            config = {"concurrencyWaitSec": 600, "terminatingWaitSec": 60}
            context = {"taskId": "task-2", "paperclipTaskMarkdown": "Else."}
            running = group.create_task(two.run(host_log, runId="run-2", config=config, context=context))
            await asyncio.sleep(100)
            (job,) = jobs(fake)
            fake.store.remove(JOBS, job["metadata"]["namespace"], job["metadata"]["name"])
        result, _ = running.result()
        assert_whole(result, host_log)
        assert host_log.status.count("Waiting up to 600s for the slot") == 1
        assert host_log.status.count("Waiting up to 60s for the slot") == 1
