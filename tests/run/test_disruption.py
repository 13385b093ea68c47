"""A Pod that is taken away, on virtual time: no second agent, the true cause, no claim without a proof."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.run.test_hosts import two_hosts
from tests.run.test_life import PARTIAL, jobs_of, living
from tests.support.fake_cluster import NAMESPACE, FakeCluster, Life
from tests.support.hosts import started
from tests.support.runs import Heard, capture

from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY
from paperclip_claude_k8s.devcluster.event_recorder import Events
from paperclip_claude_k8s.devcluster.job_controller import mark_deleted
from paperclip_claude_k8s.devcluster.kinds import JOBS, PODS, SECRETS
from paperclip_claude_k8s.host.result import ExecutionResult

pytestmark = pytest.mark.looptime
SLOW = Life(output=((0.0, PARTIAL),), ends_at=9999.0, dies_in=12.0)
"""Works on for twelve seconds after SIGTERM."""
LATE = 20.0
"""Seconds from the beginning of a run until something happens to it."""
Object = dict[str, Any]


def only(fake: FakeCluster, kind: Any) -> Object:
    found: Object = next(iter(fake.store.list(kind)))
    return found


def change(fake: FakeCluster, kind: Any, how: Callable[[Object], object]) -> None:
    name = only(fake, kind)["metadata"]["name"]

    def changed(found: Object) -> None:
        how(found)

    fake.store.update(kind, NAMESPACE, name, changed)


def delete_pod(fake: FakeCluster) -> None:
    mark_deleted(fake.store, only(fake, PODS), None)


def delete_pod_by_force(fake: FakeCluster) -> None:
    fake.store.remove(PODS, NAMESPACE, only(fake, PODS)["metadata"]["name"])


def suspend(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["spec"].update(suspend=True))


def scale_down(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["spec"].update(parallelism=0))


def taint(fake: FakeCluster) -> None:
    pod = only(fake, PODS)
    Events(fake.store, "taint-controller").record(
        pod, "Normal", "TaintManagerEviction", "Marking for deletion Pod"
    )
    delete_pod(fake)


async def disturbed(
    fake: FakeCluster, run: Any, act: Callable[[FakeCluster], None], after: float = LATE, **more: Any
) -> tuple[ExecutionResult, Heard]:
    """One run to which that happens."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(**more))
        await asyncio.sleep(after)
        act(fake)
    told: tuple[ExecutionResult, Heard] = running.result()
    return told


@pytest.mark.parametrize("old_server", [True, False])
@pytest.mark.parametrize(
    ("act", "reason", "words"),
    [
        (delete_pod, "PodDeleted", "the Pod was deleted"),
        (delete_pod_by_force, "PodDeleted", "the Pod was deleted"),
        (taint, "PodDeleted", "TaintManagerEviction: Marking for deletion Pod"),
        (suspend, "JobSuspended", "the Job was suspended"),
        (scale_down, "JobScaledDown", "parallelism"),
    ],
)
async def test_a_pod_that_is_taken_away_is_told_with_its_cause_and_has_no_second_agent(
    tmp_path: Path,
    act: Callable[[FakeCluster], None],
    reason: str,
    words: str,
    old_server: bool,  # noqa: FBT001
) -> None:
    async with living(tmp_path, SLOW) as (fake, run):
        fake.faults.replaces_dying_pods = old_server
        result, heard = await disturbed(fake, run, act)
        assert result.error_code == "k8s_pod_disrupted"
        assert result.error_family == "transient_upstream"
        assert reason in (result.error_message or "")
        assert words in (result.error_message or "")
        assert heard.stdout.encode() == PARTIAL
        assert len(fake.kubelet.started) == 1, "a second agent started"
        await asyncio.sleep(60)
        assert len(fake.kubelet.started) == 1, "a second agent started later"
        assert jobs_of(fake) == 0
        assert list(fake.store.list(SECRETS)) == []


async def test_a_quiet_agent_that_is_deleted_is_no_failure_of_its_own(tmp_path: Path) -> None:
    async with living(tmp_path, Life(ends_at=9999.0)) as (fake, run):
        result, _ = await disturbed(fake, run, delete_pod)
        assert result.error_code == "k8s_pod_disrupted"
        assert result.error_family == "transient_upstream"


async def test_a_run_that_ended_well_and_whose_pod_is_then_deleted_is_a_success(tmp_path: Path) -> None:
    done = Life(output=((0.0, capture("02")),), ends_at=25.0)
    async with living(tmp_path, done) as (fake, run):
        result, _ = await disturbed(fake, run, delete_pod)
        assert result.error_code is None


async def test_an_old_server_is_told_at_once_which_pod_alone_may_run_the_agent(tmp_path: Path) -> None:
    async with living(tmp_path, SLOW) as (fake, run):
        fake.faults.replaces_dying_pods = True
        seen: list[str] = []

        def look(fake: FakeCluster) -> None:
            seen.append(only(fake, SECRETS)["data"][ONLY_POD_KEY])
            delete_pod(fake)

        await disturbed(fake, run, look)
        assert len(seen) == 1


async def test_a_server_that_waits_for_a_pods_end_needs_no_such_word(tmp_path: Path) -> None:
    async with living(tmp_path, SLOW) as (fake, run):
        await disturbed(fake, run, delete_pod)
        assert fake.calls.count("patch", "secrets") == 0


async def test_the_answer_of_a_pod_deleted_by_force_waits_for_its_containers_end(tmp_path: Path) -> None:
    async with living(tmp_path, SLOW) as (fake, run):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await disturbed(fake, run, delete_pod_by_force)
        assert loop.time() - began >= LATE + 11.9, "the agent still worked"


def unlabel_pod(fake: FakeCluster) -> None:
    change(fake, PODS, lambda pod: pod["metadata"]["labels"].pop("paperclip.io/adapter-type"))


def unlabel_job(fake: FakeCluster) -> None:
    change(fake, JOBS, lambda job: job["metadata"]["labels"].clear())


def release_pod(fake: FakeCluster) -> None:
    change(fake, PODS, lambda pod: pod["metadata"].update(labels={}))


WHOLE = capture("02")
HALVES = Life(output=((0.0, PARTIAL), (100.0, WHOLE[len(PARTIAL) :])), ends_at=101.0)


@pytest.mark.parametrize("old_server", [True, False])
@pytest.mark.parametrize("after", [0.3, LATE])
@pytest.mark.parametrize("act", [unlabel_pod, unlabel_job, release_pod])
async def test_what_loses_its_labels_goes_on_and_is_heard_to_its_end(
    tmp_path: Path,
    act: Callable[[FakeCluster], None],
    after: float,
    old_server: bool,  # noqa: FBT001
) -> None:
    late = Life(waiting=((2.0, "ContainerCreating", ""),), output=HALVES.output, ends_at=HALVES.ends_at)
    async with living(tmp_path, late) as (fake, run):
        fake.faults.replaces_dying_pods = old_server
        result, heard = await disturbed(fake, run, act, after)
        assert result.error_code is None, result.error_message
        assert heard.stdout.encode() == WHOLE
        assert len(fake.kubelet.started) == 1
        await asyncio.sleep(60)
        assert len(fake.kubelet.started) == 1
        assert jobs_of(fake) == 0
        assert list(fake.store.list(PODS)) == []


UNMADE = (9e9, "CreateContainerConfigError", 'secret "ac-agent-1-run-1" not found')
UNMOUNTED = (9e9, "ContainerCreating", "")


@pytest.mark.parametrize(("state", "within"), [(UNMADE, 40.0), (UNMOUNTED, 160.0)])
@pytest.mark.parametrize("may_delete", [True, False])
async def test_a_pod_released_before_its_container_is_created_is_told_as_disrupted(
    tmp_path: Path,
    state: tuple[float, str, str],
    within: float,
    may_delete: bool,  # noqa: FBT001
) -> None:
    life = Life(waiting=((2.0, "ContainerCreating", ""), state))
    async with living(tmp_path, life) as (fake, run):
        if not may_delete:
            fake.faults.denied.add(("delete", "pods"))
        began = asyncio.get_running_loop().time()
        result, _ = await disturbed(fake, run, release_pod, 0.5)
        assert asyncio.get_running_loop().time() - began < within
        assert result.error_code == "k8s_pod_disrupted", result.error_message
        assert result.error_family == "transient_upstream"
        assert "PodReleased" in (result.error_message or "")
        assert "run Secret was deleted" in (result.error_message or "")
        claimed = (result.execution_recovery or {}).get("providerWorkStarted")
        assert claimed is not False, "its last state was not seen: without labels no watch tells of it"
        assert fake.kubelet.started == []


async def test_a_released_pod_that_may_not_be_deleted_is_named_for_an_operator(tmp_path: Path) -> None:
    async with living(tmp_path, HALVES) as (fake, run):
        fake.faults.denied.add(("delete", "pods"))
        result, heard = await disturbed(fake, run, release_pod)
        assert result.error_code is None
        assert "`kubectl delete pod ac-agent-1-run-1" in heard.status


async def test_a_queue_that_takes_a_job_back_before_its_agent_began_lets_it_run_later(tmp_path: Path) -> None:
    waits = iter([((9e9, "ErrImagePull", "slow"),), ()])

    def life(_pod: Object) -> Life:
        return Life(waiting=next(waits), output=((0.0, WHOLE),), ends_at=2.0)

    async with living(tmp_path, life) as (fake, run):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(config={"queueName": "agents"}))
            await asyncio.sleep(1)
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
            await asyncio.sleep(10)
            suspend(fake)
            await asyncio.sleep(200)
            change(fake, JOBS, lambda job: job["spec"].update(suspend=False))
        result, heard = running.result()
        assert result.error_code is None, result.error_message
        assert heard.stdout.encode() == WHOLE


@pytest.mark.parametrize("shown_after", [0.0, 10.0, 40.0])
async def test_the_first_line_comes_when_it_is_there_not_when_the_status_says_so(
    tmp_path: Path, shown_after: float
) -> None:
    late = Life(
        waiting=((3.0, "ContainerCreating", ""),),
        output=((0.0, PARTIAL), (50.0, WHOLE[len(PARTIAL) :])),
        ends_at=51.0,
        shown_after=shown_after,
    )
    async with living(tmp_path, late) as (fake, run):
        result, heard = await run()
        assert result.error_code is None
        first = next(when for when, text in heard.times if not text.startswith("[paperclip]"))
        assert first - fake.kubelet.started[0][0] <= 1.0
        assert (result.result_json or {})["log"]["reconnects"] == 0
        assert fake.calls.count("get", "pods/log") <= 8


async def test_what_an_agent_did_while_its_host_was_cut_off_is_not_known(tmp_path: Path) -> None:
    late = Life(waiting=((10.0, "ErrImagePull", ""),), output=((0.0, PARTIAL),), ends_at=9999.0)
    async with two_hosts(tmp_path, late) as (fake, one, _):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(one.run())
            await asyncio.sleep(5)
            one.line.cut()
            await asyncio.sleep(60)
            assert len(fake.kubelet.started) == 1
            delete_pod_by_force(fake)
            await asyncio.sleep(30)
            one.line.mend()
        result, _ = running.result()
        assert result.error_code == "k8s_pod_disrupted"
        assert "it is unknown whether its agent had started" in (result.error_message or "")
        assert result.execution_recovery is None


async def test_a_released_pod_of_an_adopted_job_is_heard_to_its_end_at_once(tmp_path: Path) -> None:
    def release(pod: Object) -> None:
        for label in ("controller-uid", "job-name"):
            pod["metadata"]["labels"].pop(label, None)

    async with two_hosts(tmp_path, HALVES) as (fake, one, two):
        fake.faults.jobs_never_finish = True
        async with started(one):
            change(fake, PODS, release)
            await asyncio.sleep(2)
            await one.adapter.shutdown()
        result, _ = await two.run()
        assert result.error_code is None
        assert asyncio.get_running_loop().time() < HALVES.ends_at + 5


@pytest.mark.parametrize("suffix", ["00000", "zzzzz"])
async def test_of_two_pods_of_an_adopted_job_the_one_that_works_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """The list comes in the order of names; the other one is still about to start its container."""
    slow_start = iter([(), ((9.0, "ContainerCreating", ""),)])

    def life(_pod: Object) -> Life:
        return Life(waiting=next(slow_start, ()), output=((0.0, PARTIAL),), ends_at=9999.0, dies_in=19.0)

    async with two_hosts(tmp_path, life) as (fake, one, two):
        fake.faults.replaces_dying_pods = True
        async with started(one):
            first = only(fake, PODS)
            await one.adapter.shutdown()
        with monkeypatch.context() as names:
            names.setattr(random, "choices", lambda *_, **__: list(suffix))
            mark_deleted(fake.store, first, None)
            await asyncio.sleep(1)
        async with started(two, 12) as running:
            assert [pod for _, pod in fake.kubelet.started] == [first["metadata"]["name"]]
            result, _ = await running
        assert first["metadata"]["name"] in (result.error_message or "")
