"""What `JobWatch.known` contains after lists, watch events and reads of the Informer, on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from tests.support.objects import a_job, a_pod

from paperclip_claude_k8s.base.aio import Nursery
from paperclip_claude_k8s.base.settings import Timings
from paperclip_claude_k8s.cluster.informer import MAX_POLLS, Informer
from paperclip_claude_k8s.cluster.job_watch import JobWatch
from paperclip_claude_k8s.cluster.model import Bookmark, JobSnapshot, Known, Listing, PodSnapshot, WatchEvent
from paperclip_claude_k8s.cluster.port import Cluster, ClusterError

pytestmark = pytest.mark.looptime
JOB, OTHER = a_job(), a_job("other")
POD = a_pod(phase="Running")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ScriptedCluster:
    """A cluster whose lists and reads of Pods return what a test sets, and whose watch sends its events."""

    def __init__(self, *pods: PodSnapshot) -> None:
        self.pods = pods
        self.events: asyncio.Queue[WatchEvent[PodSnapshot] | ClusterError] = asyncio.Queue()
        self.read_result: PodSnapshot | None = POD
        """The result of reading the Pod by its name."""
        self.refusal: ClusterError | None = None
        """If this is set, reading the Pod raises it."""
        self.job, self.job_exists = JOB, True
        """The result of reading the Job by its name."""
        self.job_reads = 0

    async def list_jobs(self, *_: Any) -> Listing[JobSnapshot]:
        return Listing((JOB, OTHER), "1")

    async def list_pods(self, *_: Any) -> Listing[PodSnapshot]:
        return Listing(self.pods, "1")

    async def watch_jobs(self, *_: Any) -> AsyncIterator[WatchEvent[JobSnapshot] | Bookmark]:
        await asyncio.sleep(9e9)  # no event in any test
        yield Bookmark("1")

    async def watch_pods(self, *_: Any) -> AsyncIterator[WatchEvent[PodSnapshot]]:
        while True:
            event = await self.events.get()
            if isinstance(event, ClusterError):
                raise event
            yield event

    async def read_job(self, *_: Any) -> JobSnapshot | None:
        self.job_reads += 1
        return self.job if self.job_exists else None

    async def read_pod(self, *_: Any) -> PodSnapshot | None:
        if self.refusal is not None:
            raise self.refusal
        return self.read_result

    def send(self, pod: PodSnapshot, *, gone: bool = False) -> None:
        self.events.put_nowait(WatchEvent(pod, gone=gone))


@asynccontextmanager
async def running_informer(cluster: ScriptedCluster) -> AsyncIterator[Informer]:
    """An informer that is kept running by the watch of another Job."""
    nursery = Nursery()
    try:
        informer = Informer(cast("Cluster", cluster), "ns", nursery, Timings())
        async with informer.job_watch(OTHER):
            await asyncio.sleep(1)
            yield informer
    finally:
        await nursery.close()


async def known_after(seconds: float, job_watch: JobWatch) -> Known:
    await asyncio.sleep(seconds)
    return job_watch.known


async def test_oldest_pod_of_a_list_is_the_pod_of_the_job() -> None:
    old = replace(POD, name="pod-z", uid="old", created=NOON, deleting=True)
    new = replace(POD, name="pod-a", uid="new", created=NOON + timedelta(seconds=9))
    as_old = replace(POD, name="pod-b", uid="as-old", created=NOON)  # as old, but a deleting Pod comes first
    async with (
        running_informer(ScriptedCluster(new, as_old, old)) as informer,
        informer.job_watch(JOB) as job_watch,
    ):
        assert (await known_after(1, job_watch)).pod == old
    job_watch = JobWatch(JOB)
    job_watch.update_from_read(JOB, [new, as_old, old])
    assert job_watch.known.pod == old


async def test_exception_in_on_change_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Known) -> None:
        raise RuntimeError("TaskGroup is shutting down")

    cluster = ScriptedCluster(POD)
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        await asyncio.sleep(1)
        job_watch.on_change = broken
        cluster.send(replace(POD, node="node2"))
        await asyncio.sleep(1)
        cluster.send(replace(POD, node="node3"))
        pod = (await known_after(1, job_watch)).pod
    assert pod is not None
    assert pod.node == "node3"
    assert "A bug in the adapter" in caplog.text


async def test_job_watch_begun_after_a_deleted_event_polls_the_pod_by_name() -> None:
    cluster = ScriptedCluster(POD)
    async with running_informer(cluster) as informer:
        async with informer.job_watch(JOB):
            cluster.send(POD, gone=True)
            await asyncio.sleep(1)
        async with informer.job_watch(JOB) as job_watch:
            await asyncio.sleep(1)
            cluster.read_result = None
            assert (await known_after(60, job_watch)).pod_gone


async def test_job_deleted_before_its_watch_began_is_reported_gone() -> None:
    cluster = ScriptedCluster()
    async with running_informer(cluster) as informer:
        cluster.job_exists = False
        async with informer.job_watch(a_job("unlisted")) as job_watch:
            known = await known_after(1, job_watch)
    assert known.job_gone
    assert cluster.job_reads == 1


async def test_job_that_the_list_does_not_have_yet_is_read_once() -> None:
    cluster = ScriptedCluster()
    async with running_informer(cluster) as informer:
        async with informer.job_watch(JOB) as job_watch:
            assert not (await known_after(1, job_watch)).job_gone
        assert cluster.job_reads == 0  # the list has it
        new = a_job("new")
        cluster.job = new
        async with informer.job_watch(new) as job_watch:
            assert not (await known_after(60, job_watch)).job_gone
    assert cluster.job_reads == 1


async def test_released_pod_with_our_label_stays_watched() -> None:
    released = replace(POD, job_uid="")  # no Job owns it any more
    cluster = ScriptedCluster(released)
    cluster.read_result = released
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        assert (await known_after(1, job_watch)).pod is None
        job_watch.update_from_read(JOB, [released])
        cluster.send(replace(released, phase="Succeeded"))
        pod = (await known_after(1, job_watch)).pod
        assert pod is not None
        assert pod.phase == "Succeeded"


async def test_released_pod_without_our_label_is_polled_by_name() -> None:
    released = replace(POD, job_uid="", labels={})  # no Job owns it any more
    cluster = ScriptedCluster()
    cluster.read_result = released
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        job_watch.update_from_read(JOB, [released])
        assert not (await known_after(1, job_watch)).pod_gone
        cluster.read_result = None
        assert (await known_after(60, job_watch)).pod_gone


@pytest.mark.parametrize(("status", "gone"), [(401, False), (403, True), (503, False), (None, False)])
async def test_deleted_event_is_trusted_only_if_reads_are_forbidden(status: int | None, gone: bool) -> None:  # noqa: FBT001
    cluster = ScriptedCluster(POD)
    cluster.refusal = ClusterError(status, "", "no")
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        cluster.send(POD, gone=True)
        assert (await known_after(30, job_watch)).pod_gone is gone
        cluster.refusal = cluster.read_result = None
        assert (await known_after(30, job_watch)).pod_gone


async def test_deleted_event_gives_the_final_pod_state() -> None:
    last = replace(POD, phase="Failed")
    cluster = ScriptedCluster(POD)
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        cluster.read_result = None
        cluster.send(last, gone=True)
        known = await known_after(1, job_watch)
        assert (known.pod, known.pod_gone, known.pod_is_final) == (last, True, True)
        job_watch.expect_another_pod()
        assert not job_watch.known.pod_is_final


async def test_pod_missing_from_a_list_has_no_final_state() -> None:
    cluster = ScriptedCluster(POD)
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        cluster.pods, cluster.read_result = (), None
        cluster.events.put_nowait(ClusterError(None, "", "away"))  # ends the watch, so that a list follows
        known = await known_after(30, job_watch)
        assert (known.pod_gone, known.pod_is_final) == (True, False)


async def test_pod_missing_from_a_read_has_no_final_state() -> None:
    job_watch = JobWatch(JOB)
    job_watch.update_pod(POD, gone=False)
    job_watch.update_from_read(JOB, [])
    assert (job_watch.known.pod_gone, job_watch.known.pod_is_final) == (True, False)


@pytest.mark.parametrize("deleting", [True, False])
async def test_unreadable_pod_has_a_final_state_only_if_it_was_deleting(deleting: bool) -> None:  # noqa: FBT001
    cluster = ScriptedCluster(POD)
    cluster.refusal = ClusterError(None, "", "away")
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        cluster.send(replace(POD, deleting=deleting), gone=True)
        await asyncio.sleep(1)
        cluster.refusal = cluster.read_result = None
        known = await known_after(30, job_watch)
        assert (known.pod_gone, known.pod_is_final) == (True, deleting)


async def test_pod_deleted_while_polled_has_a_final_state() -> None:
    cluster = ScriptedCluster(POD)
    last = replace(POD, phase="Failed")
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        cluster.send(POD, gone=True)  # the Pod has lost its label,
        await asyncio.sleep(0.1)
        cluster.send(POD)  # has its label again,
        cluster.read_result = None
        cluster.send(last, gone=True)  # and is deleted
        known = await known_after(60, job_watch)
        assert (known.pod, known.pod_gone, known.pod_is_final) == (last, True, True)


async def test_thousand_deleted_events_start_few_polls() -> None:
    cluster = ScriptedCluster()
    async with running_informer(cluster) as informer, informer.job_watch(JOB) as job_watch:
        before = len(asyncio.all_tasks())
        for number in range(1000):
            cluster.send(replace(POD, name=f"pod-{number}", uid=f"uid-{number}"), gone=True)
        cluster.read_result = replace(POD, name="pod-0", uid="uid-0")
        await asyncio.sleep(0.5)
        assert len(asyncio.all_tasks()) - before <= MAX_POLLS
        assert (await known_after(10, job_watch)).pod == cluster.read_result  # the first one is polled
