"""What every implementation of `Cluster` does with Pods, their logs, and watches."""

import asyncio
import re

import pytest
from tests.support.clusters import CONTRACT_TIMEOUT, ContractCluster

from paperclip_claude_k8s.cluster.model import (
    Bookmark,
    JobRef,
    JobSnapshot,
    PodSnapshot,
    Terminated,
    WatchEvent,
)
from paperclip_claude_k8s.cluster.port import ClusterError, LogRequest

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) ")


async def read_all(tested: ContractCluster, pod: PodSnapshot, **more: object) -> bytes:
    request = LogRequest(tested.namespace, pod.name, "claude", **more)  # type: ignore[arg-type]
    whole = b""
    async with tested.cluster.log(request) as log:
        while chunk := await log.read():
            whole += chunk
    return whole


def without_stamps(raw: bytes) -> bytes:
    """The lines of a log without their timestamps, which each of them must have."""
    lines = raw.split(b"\n")[:-1]
    assert all(STAMP.match(line) for line in lines), raw[:200]
    return b"".join(STAMP.sub(b"", line) + b"\n" for line in lines)


async def test_failed_pod_has_exit_code_and_owner_and_its_job_fails(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("exits", code=7))
    pod, state = await tested.wait_until_ended(made)
    assert pod.job_uid == made.ref.uid
    assert isinstance(state, Terminated)
    assert state.exit_code == 7

    async def failed() -> JobSnapshot | None:
        job = await tested.cluster.read_job(tested.namespace, made.ref.name)
        return job if job and job.finished else None

    finished = (await tested.until(failed)).finished
    assert finished is not None
    assert finished.type == "Failed"


async def test_followed_log_has_every_line_and_ends_with_the_container(tested: ContractCluster) -> None:
    output = b"".join(b"line %d\n" % number for number in range(200))
    made = await tested.cluster.create_job(tested.namespace, tested.job("follow", output, runs_for=1))
    pod = await tested.wait_until_running(made)
    async with asyncio.timeout(CONTRACT_TIMEOUT):
        assert without_stamps(await read_all(tested, pod, follow=True)) == output


async def test_log_can_be_read_since_a_time(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("since", b"a\nb\n"))
    pod, _ = await tested.wait_until_ended(made)
    assert without_stamps(await read_all(tested, pod, follow=False)) == b"a\nb\n"
    assert await read_all(tested, pod, follow=False, since=4 * 10**18) == b""  # in 2096
    since_2001 = await read_all(tested, pod, follow=False, since=10**18)
    assert without_stamps(since_2001) == b"a\nb\n"


async def test_log_tail_returns_the_last_lines(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("tail", b"a\nb\nc\nd\n"))
    pod, _ = await tested.wait_until_ended(made)
    assert without_stamps(await read_all(tested, pod, follow=False, tail=2)) == b"c\nd\n"
    assert without_stamps(await read_all(tested, pod, follow=False, tail=99)) == b"a\nb\nc\nd\n"


async def test_log_of_a_missing_or_starting_container_is_an_error(tested: ContractCluster) -> None:
    with pytest.raises(ClusterError) as caught:
        async with tested.cluster.log(LogRequest(tested.namespace, "missing", "claude")):
            pass
    assert caught.value.status == 404
    # without its Secret, the container cannot start
    job = tested.job("gated", secret=tested.name("missing-secret"))
    made = await tested.cluster.create_job(tested.namespace, job)

    async def scheduled() -> PodSnapshot | None:
        pod = await tested.pod_of(made)
        return pod if pod and pod.agent else None

    pod = await tested.until(scheduled)
    with pytest.raises(ClusterError) as creating:
        async with tested.cluster.log(LogRequest(tested.namespace, pod.name, "claude")):
            pass
    assert creating.value.status == 400


async def test_pod_waits_for_its_secret(tested: ContractCluster) -> None:
    secret = tested.name("gate")
    made = await tested.cluster.create_job(tested.namespace, tested.job("waits", secret=secret))
    await asyncio.sleep(1)
    pod = await tested.pod_of(made)
    assert pod is None or pod.phase == "Pending"
    meta = {
        "name": secret,
        "namespace": tested.namespace,
        "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": made.ref.name, "uid": made.ref.uid}
        ],
    }
    await tested.cluster.create_secret(
        tested.namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": "b"}}
    )
    _, state = await tested.wait_until_ended(made)
    assert state.exit_code == 0


async def test_watch_continues_from_a_list_without_gap(tested: ContractCluster) -> None:
    listing = await tested.cluster.list_pods(tested.namespace, tested.labels)
    made = await tested.cluster.create_job(tested.namespace, tested.job("watched"))
    phases: list[str] = []
    async with asyncio.timeout(CONTRACT_TIMEOUT):
        async for event in tested.cluster.watch_pods(
            tested.namespace, tested.labels, listing.resource_version
        ):
            if isinstance(event, Bookmark):
                continue
            assert event.snapshot.job_uid == made.ref.uid
            phases.append(event.snapshot.phase)
            if event.snapshot.phase == "Succeeded":
                break
    assert phases[0] == "Pending"


async def test_watch_from_version_0_yields_existing_objects_first(tested: ContractCluster) -> None:
    # On a busy node, a Pod is seen as running only seconds after its start, so this one runs for 10 s.
    made = await tested.cluster.create_job(tested.namespace, tested.job("there", runs_for=10))
    await tested.wait_until_running(made)
    phases: list[str] = []
    async with asyncio.timeout(CONTRACT_TIMEOUT):
        async for event in tested.cluster.watch_pods(tested.namespace, tested.labels, "0"):
            if isinstance(event, Bookmark):
                continue
            assert event.snapshot.job_uid == made.ref.uid
            phases.append(event.snapshot.phase)
            if event.snapshot.phase == "Succeeded":
                break
    assert phases[0] in {"Pending", "Running"}


async def test_watch_reports_a_deletion(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("leaves", runs_for=30))
    listing = await tested.cluster.list_jobs(tested.namespace, tested.labels)
    await tested.cluster.delete_job(made.ref, "Background")
    deleted: JobRef | None = None
    async with asyncio.timeout(CONTRACT_TIMEOUT):
        async for event in tested.cluster.watch_jobs(
            tested.namespace, tested.labels, listing.resource_version
        ):
            if isinstance(event, WatchEvent) and event.gone:
                deleted = event.snapshot.ref
                break
    assert deleted == made.ref


async def test_foreground_deleted_job_stays_until_its_pod_is_gone(tested: ContractCluster) -> None:
    made = await tested.cluster.create_job(tested.namespace, tested.job("foreground", runs_for=60))
    await tested.wait_until_running(made)
    await tested.cluster.delete_job(made.ref, "Foreground")
    stored = await tested.cluster.read_job(tested.namespace, made.ref.name)
    assert stored is None or stored.deleting  # None: its Pod has been deleted already

    async def deleted() -> bool:
        return await tested.cluster.read_job(tested.namespace, made.ref.name) is None

    await tested.until(deleted)
    assert await tested.pod_of(made) is None
