"""A Pod is deleted or released during a run, on virtual time: no second agent starts, the cause is reported.

An `old_server` is one before Kubernetes 1.29: it replaces a Pod that is being deleted while its agent still
works. A released Pod no longer belongs to its Job, because labels were removed.
"""

import asyncio
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.disruptions import (
    DELAYED_RESULT,
    DISRUPT_AFTER,
    SLOW_TO_STOP,
    Object,
    change,
    delete_pod,
    delete_pod_by_force,
    only,
    release_pod,
    run_disrupted,
    scale_down,
    suspend,
    taint,
)
from tests.support.hosts import started
from tests.support.in_memory_runs import FOREVER, PARTIAL, WHOLE, count_jobs, one_host, two_hosts

from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY
from paperclip_claude_k8s.devcluster.api import Deletion, Request
from paperclip_claude_k8s.devcluster.job_controller import delete_gracefully
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, SECRETS
from paperclip_claude_k8s.devcluster.target import Target, parse_target
from paperclip_claude_k8s.plan.upload_parts import part_name, skill_part_name
from paperclip_claude_k8s.testing import NAMESPACE, FakeCluster, PodScript

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("old_server", [True, False])
@pytest.mark.parametrize(
    ("act", "reason", "message"),
    [
        (delete_pod, "PodDeleted", "the Pod was deleted"),
        (delete_pod_by_force, "PodDeleted", "the Pod was deleted"),
        (taint, "PodDeleted", "TaintManagerEviction: Marking for deletion Pod"),
        (suspend, "JobSuspended", "the Job was suspended"),
        (scale_down, "JobScaledDown", "parallelism"),
    ],
)
async def test_disruption_is_reported_with_its_cause_and_starts_no_second_agent(
    tmp_path: Path,
    act: Callable[[FakeCluster], None],
    reason: str,
    message: str,
    old_server: bool,  # noqa: FBT001
) -> None:
    async with one_host(tmp_path, SLOW_TO_STOP) as (fake, run):
        fake.faults.replaces_terminating_pods = old_server
        result, host_log = await run_disrupted(fake, run, act)
        assert result.error_code == "k8s_pod_disrupted"
        assert result.error_family == "transient_upstream"
        assert reason in (result.error_message or "")
        assert message in (result.error_message or "")
        assert host_log.stdout.encode() == PARTIAL
        assert len(fake.kubelet.started) == 1, "a second agent started"
        await asyncio.sleep(60)
        assert len(fake.kubelet.started) == 1, "a second agent started later"
        assert count_jobs(fake) == 0
        assert list(fake.store.list(SECRETS)) == []


async def test_deleted_pod_without_output_is_reported_as_a_disruption(tmp_path: Path) -> None:
    async with one_host(tmp_path, PodScript(ends_at=9999.0)) as (fake, run):
        result, _ = await run_disrupted(fake, run, delete_pod)
        assert result.error_code == "k8s_pod_disrupted"
        assert result.error_family == "transient_upstream"


async def test_run_whose_pod_is_deleted_after_its_result_succeeds(tmp_path: Path) -> None:
    done = PodScript(output=((0.0, WHOLE),), ends_at=25.0)
    async with one_host(tmp_path, done) as (fake, run):
        result, _ = await run_disrupted(fake, run, delete_pod)
        assert result.error_code is None


async def test_secret_names_the_running_pod_on_an_old_server(tmp_path: Path) -> None:
    async with one_host(tmp_path, SLOW_TO_STOP) as (fake, run):
        fake.faults.replaces_terminating_pods = True
        pods: list[tuple[bytes, str]] = []

        def note_pin_and_delete_pod(fake: FakeCluster) -> None:
            pinned = b64decode(only(fake, SECRETS)["data"][ONLY_POD_KEY])
            pods.append((pinned, only(fake, PODS)["metadata"]["uid"]))
            delete_pod(fake)

        await run_disrupted(fake, run, note_pin_and_delete_pod)
        ((pinned_uid, uid),) = pods
        assert pinned_uid.decode() == uid


async def test_secret_names_no_pod_on_a_new_server(tmp_path: Path) -> None:
    async with one_host(tmp_path, SLOW_TO_STOP) as (fake, run):
        await run_disrupted(fake, run, delete_pod)
        assert fake.calls.count("patch", "secrets") == 0


async def test_run_waits_for_the_container_of_a_force_deleted_pod(tmp_path: Path) -> None:
    async with one_host(tmp_path, SLOW_TO_STOP) as (fake, run):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await run_disrupted(fake, run, delete_pod_by_force)
        assert loop.time() - began >= DISRUPT_AFTER + SLOW_TO_STOP.stops_in - 0.1, "the agent still worked"


def unlabel_pod(fake: FakeCluster) -> None:
    change(fake, PODS, lambda pod: pod["metadata"]["labels"].pop("paperclip.io/adapter-type"))


def unlabel_job(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["metadata"]["labels"].clear())


@pytest.mark.parametrize("old_server", [True, False])
@pytest.mark.parametrize("after", [0.3, DISRUPT_AFTER])
@pytest.mark.parametrize("act", [unlabel_pod, unlabel_job, release_pod])
async def test_released_pod_is_followed_until_its_agent_exits(
    tmp_path: Path,
    act: Callable[[FakeCluster], None],
    after: float,
    old_server: bool,  # noqa: FBT001
) -> None:
    late = PodScript(
        waiting=((2.0, "ContainerCreating", ""),),
        output=DELAYED_RESULT.output,
        ends_at=DELAYED_RESULT.ends_at,
    )
    async with one_host(tmp_path, late) as (fake, run):
        fake.faults.replaces_terminating_pods = old_server
        result, host_log = await run_disrupted(fake, run, act, after)
        assert result.error_code is None, result.error_message
        assert host_log.stdout.encode() == WHOLE
        assert len(fake.kubelet.started) == 1
        await asyncio.sleep(60)
        assert len(fake.kubelet.started) == 1
        assert count_jobs(fake) == 0
        assert list(fake.store.list(PODS)) == []


NO_SECRET = (FOREVER, "CreateContainerConfigError", 'secret "ac-agent-1-run-1" not found')
NOT_MOUNTED = (FOREVER, "ContainerCreating", "")
"""Waiting states of a container that is never created: (seconds, reason, message)."""


@pytest.mark.parametrize(("state", "within"), [(NO_SECRET, 40.0), (NOT_MOUNTED, 160.0)])
@pytest.mark.parametrize("may_delete", [True, False])
async def test_pod_released_before_its_container_is_created_is_reported_as_disrupted(
    tmp_path: Path,
    state: tuple[float, str, str],
    within: float,
    may_delete: bool,  # noqa: FBT001
) -> None:
    pod_script = PodScript(waiting=((2.0, "ContainerCreating", ""), state))
    async with one_host(tmp_path, pod_script) as (fake, run):
        if not may_delete:
            fake.faults.denied.add(("delete", "pods"))
        began = asyncio.get_running_loop().time()
        result, _ = await run_disrupted(fake, run, release_pod, 0.5)
        assert asyncio.get_running_loop().time() - began < within
        assert result.error_code == "k8s_pod_disrupted", result.error_message
        assert result.error_family == "transient_upstream"
        assert "PodReleased" in (result.error_message or "")
        assert "run Secret was deleted" in (result.error_message or "")
        work_started = (result.execution_recovery or {}).get("providerWorkStarted")
        assert work_started is not False, "no watch reports the last state of a Pod without labels"
        assert fake.kubelet.started == []


async def test_released_pod_that_cannot_be_deleted_is_named(tmp_path: Path) -> None:
    async with one_host(tmp_path, DELAYED_RESULT) as (fake, run):
        fake.faults.denied.add(("delete", "pods"))
        result, host_log = await run_disrupted(fake, run, release_pod)
        assert result.error_code is None
        assert "`kubectl delete pod ac-agent-1-run-1" in host_log.status


async def test_job_suspended_by_its_queue_before_the_start_runs_after_readmission(tmp_path: Path) -> None:
    waits = iter([((FOREVER, "ErrImagePull", "slow"),), ()])

    def pod_script_of(_pod: Object) -> PodScript:
        return PodScript(waiting=next(waits), output=((0.0, WHOLE),), ends_at=2.0)

    async with one_host(tmp_path, pod_script_of) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config={"queueName": "agents"}))
            await asyncio.sleep(1)
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
            await asyncio.sleep(10)
            suspend(fake)
            await asyncio.sleep(200)
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
        result, host_log = running.result()
        assert result.error_code is None, result.error_message
        assert host_log.stdout.encode() == WHOLE


@pytest.mark.parametrize("shown_after", [0.0, 10.0, 40.0])
async def test_first_line_is_delivered_before_the_status_shows_the_start(
    tmp_path: Path, shown_after: float
) -> None:
    late = PodScript(
        waiting=((3.0, "ContainerCreating", ""),),
        output=((0.0, PARTIAL), (50.0, WHOLE[len(PARTIAL) :])),
        ends_at=51.0,
        shown_after=shown_after,
    )
    async with one_host(tmp_path, late) as (fake, run):
        result, host_log = await run()
        assert result.error_code is None
        first = next(when for when, text in host_log.times if not text.startswith("[paperclip]"))
        assert first - fake.kubelet.started[0][0] <= 1.0
        assert (result.result_json or {})["log"]["reconnects"] == 0
        assert fake.calls.count("get", "pods/log") <= 8


async def test_agent_may_have_started_in_a_pod_removed_during_a_disconnect(tmp_path: Path) -> None:
    late = PodScript(waiting=((10.0, "ErrImagePull", ""),), output=((0.0, PARTIAL),), ends_at=9999.0)
    async with two_hosts(tmp_path, late) as (fake, one, _):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(one.run())
            await asyncio.sleep(5)
            one.connection.cut()
            await asyncio.sleep(60)
            assert len(fake.kubelet.started) == 1
            delete_pod_by_force(fake)
            await asyncio.sleep(30)
            one.connection.restore()
        result, _ = running.result()
        assert result.error_code == "k8s_pod_disrupted"
        assert "it is unknown whether its agent had started" in (result.error_message or "")
        assert result.execution_recovery is None


async def test_released_pod_of_an_adopted_job_is_followed_at_once(tmp_path: Path) -> None:
    def release(pod: Object) -> None:
        for label in ("controller-uid", "job-name"):
            pod["metadata"]["labels"].pop(label, None)

    async with two_hosts(tmp_path, DELAYED_RESULT) as (fake, one, two):
        fake.faults.jobs_never_finish = True
        async with started(one):
            change(fake, PODS, release)
            await asyncio.sleep(2)
            await one.adapter.shutdown()
        result, _ = await two.run()
        assert result.error_code is None
        assert asyncio.get_running_loop().time() < DELAYED_RESULT.ends_at + 5


@pytest.mark.parametrize("suffix", ["00000", "zzzzz"])
async def test_adopting_host_follows_the_running_one_of_two_pods(tmp_path: Path, suffix: str) -> None:
    """`suffix` decides whether the waiting Pod comes first or last in lists, which are sorted by name."""
    waits = iter([(), ((9.0, "ContainerCreating", ""),)])

    def pod_script_of(_pod: Object) -> PodScript:
        return PodScript(waiting=next(waits, ()), output=((0.0, PARTIAL),), ends_at=9999.0, stops_in=19.0)

    async with two_hosts(tmp_path, pod_script_of) as (fake, one, two):
        fake.faults.replaces_terminating_pods = True
        async with started(one):
            first = only(fake, PODS)
            await one.adapter.shutdown()
        fake.faults.pod_suffix = suffix
        delete_gracefully(fake.store, first, grace=None)
        await asyncio.sleep(1)
        fake.faults.pod_suffix = ""
        async with started(two, 12) as running:
            assert [pod for _, pod in fake.kubelet.started] == [first["metadata"]["name"]]
            result, _ = await running
        assert first["metadata"]["name"] in (result.error_message or "")


async def test_job_deleted_without_its_dependents_leaves_nothing_behind(tmp_path: Path) -> None:
    """`kubectl delete job --cascade=orphan` leaves the Pod, the run Secret and the parts without an owner."""
    script = PodScript(output=((0.0, WHOLE[:2000]), (20.0, WHOLE[2000:])), ends_at=25.0)
    async with one_host(tmp_path, script) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run())
            await asyncio.sleep(10)
            job = only(fake, JOBS)["metadata"]["name"]
            owners = only(fake, SECRETS)["metadata"]["ownerReferences"]
            for part in (part_name(job, 0), part_name(job, 1), skill_part_name(job, 0)):
                metadata = {"name": part, "namespace": NAMESPACE, "ownerReferences": owners}
                fake.store.create(SECRETS, {"metadata": metadata})
            target = parse_target(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{job}")
            assert isinstance(target, Target)
            options = {"propagationPolicy": "Orphan"}
            delete = Request("DELETE", {}, options, "application/json", "application/json")
            Deletion(fake.store, fake.kubelet).delete(target, delete)  # type: ignore[arg-type]  # unused part
            assert [secret["metadata"]["ownerReferences"] for secret in fake.store.list(SECRETS)] == [[]] * 4
        result, host_log = running.result()
        assert result.error_message is None
        assert host_log.stdout.encode() == WHOLE
        assert [list(fake.store.list(kind)) for kind in (JOBS, PODS, SECRETS)] == [[], [], []]
